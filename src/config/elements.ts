/**
 * What the fields of a config file are made of: texts, mappings, paths and lists of arguments, each with a phrase for
 * what is expected there.
 */
import * as z from 'zod';
import type { Expanded } from './paths.js';

/** Text on one line: CR, LF and NUL could end a command to the server early, so no value may hold them. */
export const line = (expected: string) =>
  z.string({ error: expected }).regex(/^[^\r\n\0]+$/, { error: expected });

/** A mapping with these keys and no others. For unknown keys the message is the list of the known ones. */
export const mapping = <T extends z.core.$ZodLooseShape>(shape: T, expected: string) =>
  z.strictObject(shape, {
    error: (issue) => (issue.code === 'unrecognized_keys' ? Object.keys(shape).join(', ') : expected),
  });

/** Gives a field its help text and, where there is one, its default as it would be written in a file. */
export const field = <T extends z.ZodType>(
  schema: T,
  description: string,
  byDefault?: string | number | boolean,
) => schema.exactOptional().meta({ description, ...(byDefault === undefined ? {} : { default: byDefault }) });

/** Makes a path of a config absolute. */
export type Expand = (text: string) => Expanded;

/** A path, made absolute. */
export function path(expand: Expand) {
  return line('a path on one line').transform((text, context) => {
    const expanded = expand(text);
    if ('path' in expanded) return expanded.path;
    context.addIssue({ code: 'custom', message: expanded.expected });
    return z.NEVER;
  });
}

/** Program and arguments. */
export function argv(expected: string) {
  const argument = z.string({ error: expected }).regex(/^[^\r\n\0]*$/, { error: expected });
  return z
    .array(argument, { error: expected })
    .nonempty({ error: expected })
    .refine(([program]) => program !== '', { error: expected });
}
