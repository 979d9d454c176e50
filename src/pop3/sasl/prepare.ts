/** User names and passwords in the one form that both sides of SCRAM count with: SASLprep (RFC 4013). */

/**
 * `text` prepared, or as it is where SASLprep forbids it (emoji, for one, are newer than the tables of RFC 3454):
 * a server that took such a password has not prepared it either.
 * @param kind a user name is a query, which may hold letters that the tables do not know (RFC 5802 section 5.1)
 */
export async function prepared(text: string, kind: 'user' | 'password'): Promise<string> {
  // Printable ASCII is prepared already, and the tables are large.
  if (/^[ -~]*$/.test(text)) return text;
  const { saslprep } = await import('@mongodb-js/saslprep');
  try {
    return saslprep(text, { allowUnassigned: kind === 'user' }) || text;
  } catch {
    return text;
  }
}
