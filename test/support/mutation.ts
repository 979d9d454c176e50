/** Edits of the source that take one protection away, each of which some test has to notice. */

/** One edit. `find` occurs exactly once in `file`; put `replace` in its place, and one of `tests` must fail. */
export interface Mutation {
  /** Under the project's directory. */
  readonly file: string;
  readonly find: string;
  readonly replace: string;
  /** What nobody would be protected from. */
  readonly why: string;
  /** Test files, under test/. */
  readonly tests: readonly string[];
  /** For `vitest -t`, where a part of these tests is enough. */
  readonly filter?: string;
}
