/** YAML as text: on which line a value stands, and how to write one. Values are never read through this. */
import { isAlias, isMap, isScalar, isSeq, LineCounter, parseDocument, stringify, type Node } from 'yaml';
import type { Path } from './problems.js';

/** Where things stand in a text of YAML or JSON: the 1-based line of the value at `path`, or of the nearest part above it. */
export function yamlLines(text: string): (path: Path) => number | undefined {
  const lines = new LineCounter();
  const document = parseDocument(text, { lineCounter: lines, uniqueKeys: false, logLevel: 'silent' });
  return (path) => {
    let offset: number | undefined;
    let node: unknown = document.contents;
    for (const step of path) {
      const next = below(isAlias(node) ? node.resolve(document) : node, step);
      if (next === undefined) break;
      offset = next.offset ?? offset;
      node = next.node;
    }
    return offset === undefined ? undefined : lines.linePos(offset).line;
  };
}

/** Plain data as YAML that any reader takes. */
export function toYaml(value: object): string {
  return stringify(value, { lineWidth: 0, singleQuote: true });
}

function below(
  node: unknown,
  step: string | number,
): { node: unknown; offset: number | undefined } | undefined {
  if (isMap(node)) {
    const pair = node.items.find(({ key }) => isScalar(key) && String(key.value) === step);
    return pair && { node: pair.value, offset: start(pair.key) };
  }
  if (!isSeq(node) || typeof step !== 'number') return undefined;
  const item = node.items[step];
  return item === undefined ? undefined : { node: item, offset: start(item) };
}

function start(node: unknown): number | undefined {
  return (node as Partial<Node>).range?.[0];
}
