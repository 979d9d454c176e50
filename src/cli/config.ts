/** `popfetch config path|print|validate|schema`. */
import { findConfig, loadConfig } from '../config/load.js';
import { ConfigError, nearest } from '../config/problems.js';
import { PopfetchError } from '../errors.js';
import { printable } from '../escape.js';
import { plural } from '../report/quantities.js';
import { errorFields, toJson } from '../report/sentences.js';
import type { Context } from './context.js';
import { print } from './output.js';
import type { Flags, Request } from './request.js';

/** @throws USAGE for anything but the four words; CONFIG and PERMISSION from reading the file */
export async function config({ flags, words }: Request, context: Context): Promise<number> {
  const [what = ''] = words;
  switch (what) {
    case 'path':
      return say(context, `${await findConfig(search(flags, context))}\n`);
    case 'print':
      return say(context, await resolved(flags, context));
    case 'validate':
      return validate(flags, context);
    case 'schema': {
      const { jsonSchema } = await import('../config/schema.js');
      return say(context, `${JSON.stringify(jsonSchema(), undefined, 2)}\n`);
    }
    default: {
      const meant = nearest(what, ['path', 'print', 'validate', 'schema']);
      const remedy = meant === undefined ? 'use path, print, validate or schema' : `did you mean ${meant}?`;
      throw new PopfetchError('USAGE', `config knows nothing of "${printable(what, 60)}"`, { remedy });
    }
  }
}

function search({ config: file }: Flags, { env, home, cwd, uid }: Context): Parameters<typeof loadConfig>[0] {
  return { file, env, home, cwd, uid };
}

async function say({ stdout }: Context, text: string): Promise<number> {
  await print(stdout, text);
  return 0;
}

async function resolved(flags: Flags, context: Context): Promise<string> {
  const loaded = await loadConfig(search(flags, context));
  const { mask, maskedYaml } = await import('../config/print.js');
  return flags.json ? `${JSON.stringify(mask(loaded), undefined, 2)}\n` : maskedYaml(loaded);
}

/** All is well, or every problem: as an error for people, as a document for programs. */
async function validate(flags: Flags, context: Context): Promise<number> {
  try {
    const { file, accounts } = await loadConfig(search(flags, context));
    if (flags.json) return await say(context, `${toJson({ file, valid: true, problems: [] }, 2)}\n`);
    if (flags.quiet) return 0;
    return await say(context, `${file}: no problems, ${plural(accounts.length, 'account')}\n`);
  } catch (error) {
    if (!flags.json || !(error instanceof PopfetchError)) throw error;
    const problems = error instanceof ConfigError ? error.problems : [];
    const document = { valid: false, problems, error: { ...errorFields(error), problems: undefined } };
    await print(context.stdout, `${toJson(document, 2)}\n`);
    return error.exit;
  }
}
