/** The faults that every kind of destination must survive, as tests. */
import { describe, expect, it } from 'vitest';
import {
  faultsAt,
  lastingFaultsAt,
  oneFaultAt,
  sitesOf,
  tryAll,
  type Fault,
  type Site,
  type Start,
} from './fault-cases.js';
import { CRASHED, fresh } from './fault-starts.js';
import type { Kind } from './fault-world.js';

/** How many there must be at least: fewer would mean that the looking goes wrong. */
export interface Expected {
  readonly sites: number;
  readonly cases: number;
}

/** Milliseconds for one test on a machine that has much else to do. */
const TIME = 300_000;

/** What is asked while the memory is being opened is the same for every destination, and tried with one. */
function isOpening({ asked, caller }: Site): boolean {
  return caller.startsWith('seen/') && !/^(write|datasync|close) state\/\*\.journal$/.test(asked);
}

/** Faults wherever a run with this destination asks something of the disk. */
export function faultsOf(kind: Kind, least: Expected): void {
  const name = ({ asked, caller }: Site): string => `${asked} ${caller}`;
  const seen = async (): Promise<Site[]> => {
    const sites = await sitesOf(fresh(kind));
    return kind === 'Maildir' ? sites : sites.filter((site) => !isOpening(site));
  };
  let total = 0;
  const survive = async (start: Start, faults: readonly Fault[]): Promise<void> => {
    const { cases, wrong } = await tryAll(start, faults);
    total += cases;
    expect(wrong).toEqual([]);
  };

  describe(`${kind}, whatever the disk refuses`, () => {
    it(
      'and whenever: the error is told, nothing is lost or doubled, and the next run brings all [79]',
      async () => {
        const sites = await seen();
        expect(sites.length).toBeGreaterThanOrEqual(least.sites);
        await survive(fresh(kind), sites.flatMap(faultsAt));
      },
      TIME,
    );

    it(
      'and goes on refusing to the end of the run [79]',
      async () => {
        await survive(fresh(kind), (await seen()).flatMap(lastingFaultsAt));
      },
      TIME,
    );

    it(
      'while nothing is ever deleted from the server',
      async () => {
        await survive(fresh(kind, 'never'), (await sitesOf(fresh(kind, 'never'))).flatMap(oneFaultAt));
      },
      TIME,
    );

    it.each(Object.entries(CRASHED[kind]))(
      'after a run that %s',
      async (_, start) => {
        const known = new Set((await sitesOf(fresh(kind))).map(name));
        const sites = (await sitesOf(start)).filter((site) => !known.has(name(site)));
        expect(sites.length).toBeGreaterThan(0);
        await survive(start, sites.flatMap(faultsAt));
      },
      TIME,
    );

    it('is tried often enough', () => {
      console.log(`${kind}: ${total} faults`);
      expect(total).toBeGreaterThanOrEqual(least.cases);
    });
  });
}
