/**
 * Power cuts on real file systems: `npm run torture:power -- --cuts N [--seed S] [--fs NAME] [--record]`, N for each file
 * system. Needs root and loop devices; what the machine has not is skipped with a line. Ends in 1 where a message was
 * lost or doubled, or anything was left that should not be.
 */
import { release } from 'node:os';
import { parseArgs } from 'node:util';
import { chance } from '../support/chance.js';
import { cutOnce } from './power-cuts.js';
import { Image, KINDS, obstacle } from './power-image.js';
import type { Kind } from './power-image.js';
import { record } from './results.js';

const { values } = parseArgs({
  options: {
    cuts: { type: 'string', default: '100' },
    seed: { type: 'string', default: '1' },
    fs: { type: 'string' },
    record: { type: 'boolean', default: false },
  },
});

const say = (sentence: string): void => {
  process.stdout.write(`${sentence}\n`);
};

// The cut at hand is finished, so that no command is under way when the image comes off.
const stop = new AbortController();
for (const signal of ['SIGINT', 'SIGTERM'] as const) {
  process.on(signal, () => {
    stop.abort();
    process.exitCode = 130;
  });
}

/** Cuts one file system's power again and again. @returns a line of what came of it */
async function torture(kind: Kind): Promise<string> {
  const reason = await obstacle(kind);
  if (reason !== undefined) return `skipped: ${reason}`;
  const image = await Image.make(kind);
  const sums = { lost: 0, doubled: 0, problems: 0 };
  let [cuts, during] = [0, 0];
  try {
    for (let n = 1; n <= Number(values.cuts) && !stop.signal.aborted; n += 1) {
      cuts = n;
      const verdict = await cutOnce(image, chance(Number(values.seed) * 1_000_003 + n));
      if (verdict.during) during += 1;
      for (const name of ['lost', 'doubled', 'problems'] as const) {
        sums[name] += verdict[name].length;
        for (const each of verdict[name]) say(`${kind.name}, cut ${n}: ${name}: ${each}`);
      }
    }
  } finally {
    await image.remove();
  }
  if (!stop.signal.aborted && sums.lost + sums.doubled + sums.problems > 0) process.exitCode = 1;
  return `${cuts} cuts (${during} while a run was at work, the others just after), ${sums.lost} lost, ${sums.doubled} doubled, ${sums.problems} other problems`;
}

const lines = [`Linux ${release()}, Node ${process.versions.node}, seed ${values.seed}.`, ''];
for (const kind of KINDS.filter(({ name }) => name === (values.fs ?? name))) {
  if (stop.signal.aborted) break;
  const line = `- ${kind.name}: ${await torture(kind)}`;
  say(line);
  lines.push(line);
}
if (values.record && !stop.signal.aborted) record('Power cuts', lines);
