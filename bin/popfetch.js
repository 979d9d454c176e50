#!/usr/bin/env node
// Asked first, in words that old runtimes can read, too. Another one may check certificates in its own way.
var at = process.versions;
var node = String(at.node).split('.').map(Number);
if (at.bun || at.deno || !(node[0] > 20 || (node[0] === 20 && node[1] >= 19))) {
  var here = at.bun ? 'Bun ' + at.bun : at.deno ? 'Deno ' + at.deno : 'Node.js ' + at.node;
  console.error('popfetch: it runs on Node.js 20.19 or newer and on nothing else, and this is ' + here);
  process.exit(78);
}
// Of a run that comes to no end.
process.exitCode = 70;
import('../dist/cli/main.js')
  .then((command) => command.main(process.argv.slice(2)))
  .then((status) => (process.exitCode = status));
