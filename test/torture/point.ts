/** One point of the kill sweep: the deaths, a run to the end, one more that must change nothing, and what was found wrong. */
import { said } from '../support/e2e.js';
import type { Seen, World } from '../support/e2e.js';
import { nameOf } from './points.js';
import type { Point } from './points.js';
import { Scene } from './scene.js';

/** What may not be. */
export const WRONGS = ['lost', 'doubled', 'fragment', 'leftover', 'unclean', 'changed', 'secret'] as const;

/** One thing that may not be, and was. */
export interface Finding {
  readonly wrong: (typeof WRONGS)[number];
  readonly what: string;
}

/** What a point came to. */
export interface Outcome {
  readonly point: Point;
  /** For each of its deaths whether the run died, and did not end by itself before it came there. */
  readonly hits: readonly boolean[];
  /** How often an mbox ended in half a message then. */
  readonly torn: number;
  readonly findings: readonly Finding[];
}

/** Goes through a point. Rejects only where the rig itself fails. */
export async function goThrough(point: Point): Promise<Outcome> {
  const scene = await Scene.create(point);
  const findings: Finding[] = [];
  const hits: boolean[] = [];
  let torn = 0;
  try {
    for (const kill of point.kills) {
      const { signal, ...result } = await scene.killed(kill);
      hits.push(signal === 'SIGKILL');
      if (signal !== 'SIGKILL') findings.push(...unclean(scene.world.seen({ signal, ...result })));
      const content = await scene.content().catch(() => undefined);
      if (content === undefined) torn += 1;
      // Where it cannot be read, everything has to be on the server.
      findings.push(...lostNow(scene, content ?? []));
    }
    findings.push(...(await afterwards(scene)));
  } catch (cause) {
    throw new Error(`${nameOf(point)}: ${String(cause)}`, { cause });
  } finally {
    await scene.close().catch((error: unknown) => findings.push({ wrong: 'secret', what: String(error) }));
  }
  return { point, hits, torn, findings };
}

/** A message is lost when it is neither on the server nor delivered, be it at the very moment of death. */
function lostNow(scene: Scene, content: readonly string[]): Finding[] {
  const there = scene.server.mailbox('taro').uids;
  const lost = scene.texts.flatMap((text, index) => {
    return there.includes(`uid-${index + 1}`) || content.includes(text) ? [] : [index + 1];
  });
  return lost.map((number) => ({ wrong: 'lost', what: `message ${number}, when the run had died` }));
}

/** The run to the end, and the one after it. */
async function afterwards(scene: Scene): Promise<Finding[]> {
  const { world, server } = scene;
  const findings = [...unclean(await scene.run()), ...(await wrongIn(scene))];
  const [before, asked] = [await destinationOf(world), said(server, 'RETR', 'DELE').length];
  findings.push(...unclean(await scene.run()));
  const again = said(server, 'RETR', 'DELE').slice(asked);
  findings.push(...again.map((line): Finding => ({ wrong: 'changed', what: `the next run said ${line}` })));
  const after = await destinationOf(world);
  for (const path of new Set([...before.keys(), ...after.keys()])) {
    if (before.get(path) !== after.get(path))
      findings.push({ wrong: 'changed', what: `the next run changed ${path}` });
  }
  return findings;
}

function unclean({ code, stdout, stderr }: Seen): Finding[] {
  if (code === 0 && stdout === '' && stderr === '') return [];
  return [{ wrong: 'unclean', what: `a run ended with ${code} and said: ${stdout}${stderr}` }];
}

/** All messages are there once, nothing else is, and the server has what it is to have. */
async function wrongIn(scene: Scene): Promise<Finding[]> {
  const findings: Finding[] = [];
  let content: readonly string[] = [];
  try {
    content = await scene.content();
  } catch (error) {
    findings.push({ wrong: 'fragment', what: String(error) });
  }
  scene.texts.forEach((text, index) => {
    const copies = content.filter((each) => each === text).length;
    if (copies === 0) findings.push({ wrong: 'lost', what: `message ${index + 1}` });
    if (copies > 1) findings.push({ wrong: 'doubled', what: `message ${index + 1}, ${copies} times` });
  });
  for (const each of content.filter((text) => !scene.texts.includes(text)))
    findings.push({
      wrong: 'fragment',
      what: `${each.length} octets: ${JSON.stringify(each.slice(0, 200))}`,
    });
  const leftovers = await scene.world.leftovers('box');
  findings.push(...leftovers.map((what): Finding => ({ wrong: 'leftover', what })));
  const kept = scene.server.mailbox('taro').uids.length;
  const expected = scene.point.deletion === 'never' ? scene.texts.length : 0;
  if (kept !== expected)
    findings.push({ wrong: 'unclean', what: `${kept} messages on the server, not ${expected}` });
  return findings;
}

/** What is in the home but for the memory, which takes a note of every run. */
async function destinationOf(world: World): Promise<Map<string, string>> {
  const all = [...(await world.everything())];
  return new Map(
    all.filter(([path]) => !/^\.local\/state\/popfetch(\/\w+\.(journal|lock)(\.old)?)?$/.test(path)),
  );
}
