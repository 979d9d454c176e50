/** Taking turns within this process: what two accounts share is used by one of them at a time, first come first served. */

/** Ends the turn. To be called once. */
export type EndTurn = () => void;

/** One queue for each thing that is shared. */
export class Turns<Thing> {
  readonly #last = new Map<Thing, Promise<void>>();

  /** Resolves when everyone who asked before has ended their turn. */
  async take(thing: Thing): Promise<EndTurn> {
    const before = this.#last.get(thing);
    let end: EndTurn = () => undefined;
    const mine = new Promise<void>((resolve) => {
      end = resolve;
    });
    this.#last.set(thing, mine);
    await before;
    return () => {
      if (this.#last.get(thing) === mine) this.#last.delete(thing);
      end();
    };
  }
}
