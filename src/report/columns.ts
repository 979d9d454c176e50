/** Text in the columns of a terminal, where a letter of some scripts takes two and an accent none. Pure. */
import stringWidth from 'fast-string-width';

/** Columns that `text` takes. Escape sequences count nothing. */
export function width(text: string): number {
  return stringWidth(text);
}

/** `text` in at most `columns` columns, the cut marked with `…`. Never parts what is drawn as one character. */
export function cut(text: string, columns: number): string {
  if (width(text) <= columns) return text;
  if (columns < 1) return '';
  let room = columns - 1;
  let kept = '';
  for (const { segment } of new Intl.Segmenter('en').segment(text)) {
    room -= width(segment);
    if (room < 0) break;
    kept += segment;
  }
  return `${kept}…`;
}

/** `text` with blanks up to `columns` columns; as it is where it is wider. */
function pad(text: string, columns: number): string {
  return text + ' '.repeat(Math.max(0, columns - width(text)));
}

/** Rows as lines with aligned columns, two blanks apart; the last column is neither padded nor measured. */
export function table(rows: readonly (readonly string[])[]): string[] {
  const widths: number[] = [];
  for (const row of rows) {
    for (const [index, cell] of row.entries()) widths[index] = Math.max(widths[index] ?? 0, width(cell));
  }
  return rows.map((row) =>
    row
      .map((cell, index) => (index === row.length - 1 ? cell : pad(cell, widths[index] ?? 0)))
      .join('  ')
      .trimEnd(),
  );
}
