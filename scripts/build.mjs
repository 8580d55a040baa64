// Compiles to CommonJS, then writes an ES module beside each public entry that re-exports it by name.
// So `import` and `require` get one and the same instance of everything, and its state.
import { execFileSync } from 'node:child_process';
import { readFileSync, rmSync, writeFileSync } from 'node:fs';
import { createRequire } from 'node:module';
import { basename, dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';

const require = createRequire(import.meta.url);
const root = dirname(dirname(fileURLToPath(import.meta.url)));
const { exports: entries } = JSON.parse(readFileSync(join(root, 'package.json'), 'utf8'));

rmSync(join(root, 'dist'), { recursive: true, force: true });
compile();
for (const entry of Object.values(entries)) {
  if (entry.import) {
    writeModule(entry);
  }
}

function compile() {
  const tsc = require.resolve('typescript/bin/tsc');
  execFileSync(process.execPath, [tsc, '-p', join(root, 'tsconfig.build.json')], {
    stdio: 'inherit',
  });
}

function writeModule(entry) {
  const commonJs = join(root, entry.require.default);
  const names = Object.keys(require(commonJs)).sort();
  const specifier = `./${basename(commonJs)}`;
  writeFileSync(
    join(root, entry.import.default),
    `import commonJs from '${specifier}';\nexport const {\n${names.map((name) => `  ${name},\n`).join('')}} = commonJs;\n`,
  );
  writeFileSync(join(root, entry.import.types), `export * from '${specifier}';\n`);
}
