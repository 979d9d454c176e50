/** What a config file may say about where a password comes from. */
import * as z from 'zod';
import type { PasswordSource } from './account.js';
import { argv, field, line, mapping, path, type Expand } from './elements.js';
import { CREDENTIAL, EXPECTED } from './expected.js';
import { holdsOne } from './shapes.js';

/** The field `password`: the password itself, or a mapping with the one place that it comes from. */
export function passwordOf(expand: Expand) {
  return z.union(
    [
      line(EXPECTED.password).transform((value): PasswordSource => ({ value })),
      mapping(places(expand), EXPECTED.password)
        .refine(holdsOne, { error: EXPECTED.password })
        .meta({ minProperties: 1, maxProperties: 1 })
        .transform(sourceOf),
    ],
    { error: EXPECTED.password },
  );
}

function places(expand: Expand) {
  return {
    env: field(line('the name of an environment variable'), 'Environment variable that holds it.'),
    file: field(path(expand), 'File whose first line it is. Others must not be able to read the file.'),
    command: field(
      argv(EXPECTED.command),
      'Program and arguments, run without a shell, for 10 s at most; the first line it prints is the password.',
    ),
    keyring: field(
      z.literal(true, { error: 'true' }),
      'true: the keyring of the system, into which popfetch auth set-password puts it.',
    ),
    netrc: field(
      z.literal(true, { error: 'true' }),
      'true: the entry for host and user in ~/.netrc, or in the file that the environment variable NETRC names.',
    ),
    credential: field(
      z.string({ error: EXPECTED.credential }).regex(CREDENTIAL, { error: EXPECTED.credential }),
      'Name of a systemd credential: a file in $CREDENTIALS_DIRECTORY, whose first line it is.',
    ),
  };
}

/** What a mapping with one key says. */
function sourceOf(given: Partial<Place>): PasswordSource {
  const { env, file, command, keyring, netrc, credential = '' } = given;
  if (env !== undefined) return { env };
  if (file !== undefined) return { file };
  if (command !== undefined) return { command };
  if (keyring !== undefined) return { keyring };
  return netrc !== undefined ? { netrc } : { credential };
}

/** Every key at once. */
interface Place {
  readonly env: string;
  readonly file: string;
  readonly command: readonly string[];
  readonly keyring: true;
  readonly netrc: true;
  readonly credential: string;
}
