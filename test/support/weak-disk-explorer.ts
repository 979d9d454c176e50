/**
 * Goes through the states that a crash may leave, and lets the next run begin from each. A state counts when it is new,
 * and passes when the run ends with every message in its place once and the run after it has nothing to do.
 */
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { encodeWrite, parseJournal } from '../../src/seen/journal.js';
import { pick, randomOf, type Random } from './random.js';
import { Cuts, imageId } from './weak-disk-cuts.js';
import { contentAt, emptyImage, namesIn, type Image } from './weak-disk-model.js';
import {
  ADDRESS,
  PLACES,
  runOnce,
  START,
  uidsOf,
  type Moment,
  type Ran,
  type Scenario,
  type System,
} from './weak-disk-runs.js';
import { problemsAtEnd, problemsOfLoss } from './weak-disk-verdict.js';
import { WeakDisk } from './weak-disk.js';

/** How far to go. */
export interface Depth {
  /** Power cuts at one moment of which all are tried; above, as many by chance. */
  readonly cuts: number;
  /**
   * After a death of the process or a power cut at each moment: how many power cuts by chance at each moment of the next
   * run, besides those in which nothing or all survives. Default: no second crash.
   */
  readonly second?: number;
  /** Octets of a write up to which it is torn at each of them. Default 0. */
  readonly torn?: number;
  /** A second crash follows every n-th first one. Default 1. */
  readonly every?: number;
}

/** A crash from which the code did not recover. */
export class Unrecovered extends Error {
  override readonly name = 'Unrecovered';
}

export class Explorer {
  /** States that were tried. */
  states = 0;
  /** Moments at which there were too many power cuts to try all. */
  sampled = 0;
  readonly #seen = new Set<string>();
  readonly #settled = new Set<string>();
  readonly #locks = mkdtempSync(join(tmpdir(), 'popfetch-weak-'));
  readonly #system: System;
  readonly #seed: string;

  constructor(system: System, seed: string) {
    this.#system = system;
    this.#seed = seed;
  }

  remove(): void {
    rmSync(this.#locks, { recursive: true });
  }

  /** Crashes one run at each of its moments, and the runs that follow. @throws Unrecovered */
  async explore(scenario: Scenario, depth: Depth): Promise<void> {
    const random = randomOf(`${this.#seed} ${scenario.name}`);
    const first = await this.#firstRun(scenario);
    for (const [index, moment] of first.moments.entries()) {
      const story = [scenario.name, `power cut at ${index} (${moment.call})`];
      for (const cut of this.#cuts(moment, depth, random)) {
        await this.#try(scenario, { ...moment, image: cut }, story, 2);
      }
      if (scenario.reader === undefined) continue;
      const read = { ...moment, image: this.#meanwhile(scenario, moment.image, 2) };
      for (const cut of this.#cuts(read, depth, random)) {
        await this.#try(scenario, { ...read, image: cut }, [...story, 'after the reader'], 2);
      }
    }
    if (depth.second !== undefined) await this.#twice(scenario, first.moments, depth, random);
  }

  /** Crashes runs whose calls overlap by chance, at moments and in ways that chance chooses, until so many new states were tried. @throws Unrecovered */
  async wander(scenarios: readonly Scenario[], states: number): Promise<void> {
    const random = randomOf(this.#seed);
    const end = this.states + states;
    while (this.states < end) {
      const scenario = pick(random, scenarios);
      const { moments } = await this.#firstRun(scenario, random);
      const story = [scenario.name];
      await this.#tryAny(scenario, moments, story, 2, random);
      for (let twice = 0; twice < 2; twice += 1) {
        const moment = pick(random, moments);
        const image = random() < 0.5 ? moment.image : this.#cutsOf(moment).random(random);
        await this.#again(scenario, { ...moment, image }, [...story, moment.call], random, random);
      }
    }
  }

  async #again(
    scenario: Scenario,
    moment: Moment,
    story: readonly string[],
    random: Random,
    overlap?: Random,
  ): Promise<void> {
    const second = await this.#run(scenario, moment, story, 2, true, overlap);
    await this.#tryAny(scenario, second.moments, story, 3, random);
  }

  async #tryAny(
    scenario: Scenario,
    moments: readonly Moment[],
    story: readonly string[],
    life: number,
    random: Random,
  ): Promise<void> {
    for (let times = 0; times < 40; times += 1) {
      const moment = pick(random, moments);
      const cuts = this.#cutsOf(moment);
      for (let cut = 0; cut < 2; cut += 1) {
        const image = cuts.random(random);
        await this.#try(scenario, { ...moment, image }, [...story, `power cut (${moment.call})`], life);
      }
    }
  }

  /** The process dies, or the power fails; the next run is crashed as well. */
  async #twice(scenario: Scenario, moments: readonly Moment[], depth: Depth, random: Random): Promise<void> {
    for (let index = 0; index < moments.length; index += depth.every ?? 1) {
      const moment = moments[index]!;
      const story = [scenario.name, `killed at ${index} (${moment.call})`];
      await this.#crashNext(scenario, moment, story, depth, random);
      const image = this.#cutsOf(moment).random(random);
      story[1] = `power cut at ${index} (${moment.call})`;
      await this.#crashNext(scenario, { ...moment, image }, story, depth, random);
    }
  }

  async #crashNext(
    scenario: Scenario,
    moment: Moment,
    story: readonly string[],
    depth: Depth,
    random: Random,
  ): Promise<void> {
    const second = await this.#run(scenario, moment, story, 2, true);
    for (const [index, next] of second.moments.entries()) {
      const where = [...story, `power cut at ${index} (${next.call}) of the next run`];
      const cuts = this.#cutsOf(next);
      for (const image of cuts.extremes()) await this.#try(scenario, { ...next, image }, where, 3);
      for (let times = 0; times < (depth.second ?? 0); times += 1) {
        await this.#try(scenario, { ...next, image: cuts.random(random) }, where, 3);
      }
    }
  }

  *#cuts(moment: Moment, { cuts: most, torn = 0 }: Depth, random: Random): Generator<Image> {
    const cuts = this.#cutsOf(moment);
    yield* cuts.extremes();
    yield* cuts.torn(torn);
    if (cuts.atMost(most)) yield* cuts.all();
    else {
      this.sampled += 1;
      for (let times = 0; times < most; times += 1) yield cuts.random(random);
    }
  }

  #cutsOf({ image }: Moment): Cuts {
    return new Cuts(image, [`${PLACES.state}/${this.#system.mailboxTag(ADDRESS)}.lock`]);
  }

  async #firstRun(scenario: Scenario, random?: Random): Promise<Ran> {
    const start = { image: await this.#prepared(scenario), left: uidsOf(scenario), call: 'boot' };
    const ran = await this.#run(scenario, start, [scenario.name, 'no crash'], 1, true, random);
    return { ...ran, moments: [start, ...ran.moments] };
  }

  /** One state: the next run must put all right, and the one after it must find nothing to do. */
  async #try(scenario: Scenario, state: Moment, story: readonly string[], life: number): Promise<void> {
    const id = `${scenario.name} ${imageId(state.image)} ${state.left.join()}`;
    if (this.#seen.has(id)) return;
    this.#seen.add(id);
    this.states += 1;
    this.#expect(problemsOfLoss(state.image, state.left, scenario), story, state.image);
    const ran = await this.#run(scenario, state, story, life, false);
    const end = `${scenario.name} ${imageId(ran.image)}`;
    if (this.#settled.has(end)) return;
    this.#settled.add(end);
    const idle = await runOnce(this.#system, scenario, ran, { life: life + 1, locks: this.#locks });
    const story3 = [...story, 'the run after the next'];
    this.#expect(idle.errors.map(String), story3, ran.image);
    this.#expect(
      idle.retrieved.map((uid) => `${uid} is retrieved again`),
      story3,
      ran.image,
    );
    this.#expect(problemsAtEnd(idle.image, scenario), story3, idle.image);
  }

  async #run(
    scenario: Scenario,
    moment: Moment,
    story: readonly string[],
    life: number,
    moments: boolean,
    random?: Random,
  ): Promise<Ran> {
    const from = { ...moment, image: this.#meanwhile(scenario, moment.image, life) };
    const options = { life, locks: this.#locks, moments, ...(random === undefined ? {} : { random }) };
    const ran = await runOnce(this.#system, scenario, from, options);
    // A run on a full disk ends as it can; what counts is the next one.
    if (life === 1 && scenario.full !== undefined) return ran;
    this.#expect(ran.errors.map(String), story, moment.image);
    this.#expect(problemsAtEnd(ran.image, scenario), story, moment.image);
    const left = scenario.delete === 'delivered' && ran.left.length > 0;
    this.#expect(left ? [`${ran.left.join(' ')} left on the server`] : [], story, moment.image);
    return ran;
  }

  /** What a mail reader does before the next run. */
  #meanwhile(scenario: Scenario, image: Image, life: number): Image {
    if (scenario.reader === undefined || life === 1) return image;
    const disk = new WeakDisk(image, { locks: this.#locks, now: () => START });
    scenario.reader(disk);
    return disk.image;
  }

  #expect(problems: readonly string[], story: readonly string[], image: Image): void {
    if (problems.length === 0) return;
    const lines = [
      ...story,
      ...problems.map((problem) => `  ${problem}`),
      `seed: ${this.#seed}`,
      treeOf(image),
    ];
    throw new Unrecovered(lines.join('\n'));
  }

  /** What is on the disk before anything: directories of a home, what was in the mbox, an old journal. */
  async #prepared(scenario: Scenario): Promise<Image> {
    const disk = new WeakDisk(emptyImage(), { locks: this.#locks, now: () => START });
    await disk.mkdir('/home/spool');
    if (scenario.deliver.includes('stdout')) disk.openNow(PLACES.stdout, 'append');
    if (scenario.earlier !== undefined) {
      await disk.openNow(PLACES.mbox, 'append').write(Buffer.from(scenario.earlier, 'latin1'));
    }
    if (scenario.halfMade === true) return halfMade(settled(disk.image), this.#locks);
    if (scenario.ballast === undefined) return settled(disk.image);
    const none = { ...scenario, messages: [] };
    const { image } = await runOnce(
      this.#system,
      none,
      { image: disk.image, left: [] },
      { life: 1, locks: this.#locks },
    );
    const old = new WeakDisk(image, { locks: this.#locks, now: () => START });
    await addBallast(old, `${PLACES.state}/${this.#system.mailboxTag(ADDRESS)}.journal`, scenario.ballast);
    return settled(old.image);
  }
}

/** Everything survives. */
function settled(image: Image): Image {
  const [, all] = [...new Cuts(image).extremes()];
  return all ?? image;
}

/** What a run leaves that is killed while it makes the last folder of a Maildir. */
async function halfMade(image: Image, locks: string): Promise<Image> {
  const disk = new WeakDisk(image, { locks, now: () => START });
  for (const folder of ['tmp', 'new']) await disk.mkdir(`${PLACES.maildir}/${folder}`);
  disk.mkdirNow(`${PLACES.maildir}/cur`);
  return disk.image;
}

async function addBallast(disk: WeakDisk, path: string, count: number): Promise<void> {
  const { next } = parseJournal(contentAt(disk.image, path)?.toString('latin1') ?? '', path);
  const records = Array.from({ length: count }, () => ({
    verb: 'RUN',
    fields: [String(START), 'ok', '0', '0', '0'],
  }));
  await disk.openNow(path, 'append').write(Buffer.from(encodeWrite(records, next), 'latin1'));
}

/** All files, for a person. */
function treeOf(image: Image, path = ''): string {
  return namesIn(image, path === '' ? '/' : path)
    .map((name) => {
      const content = contentAt(image, `${path}/${name}`);
      if (content === undefined) return `${path}/${name}/\n${treeOf(image, `${path}/${name}`)}`;
      const text = JSON.stringify(content.subarray(0, 3000).toString('latin1')).replaceAll('\\n', '\n      ');
      return `${path}/${name} (${content.length} octets)\n      ${text}\n`;
    })
    .join('');
}
