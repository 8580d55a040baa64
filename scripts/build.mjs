// Compiles to CommonJS, then writes an ES module beside each public entry that re-exports it by name.
// So `import` and `require` get one and the same instance of everything, and its state.
// Writes dist/ in this repository, or in the folder given as argument; options of tsc may follow it.
import { execFileSync } from 'node:child_process';
import { chmodSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { createRequire } from 'node:module';
import { basename, dirname, join, resolve } from 'node:path';
import { fileURLToPath } from 'node:url';

const require = createRequire(import.meta.url);
const root = dirname(dirname(fileURLToPath(import.meta.url)));
const [folder = root, ...compilerOptions] = process.argv.slice(2);
const target = resolve(folder);
const { bin, exports: entries } = JSON.parse(readFileSync(join(root, 'package.json'), 'utf8'));

rmSync(join(target, 'dist'), { recursive: true, force: true });
compile();
for (const entry of Object.values(entries)) {
  if (entry.import) {
    writeModule(entry);
  }
}
for (const command of Object.values(bin)) {
  chmodSync(join(target, command), 0o755);
}

function compile() {
  const tsc = require.resolve('typescript/bin/tsc');
  const project = join(root, 'tsconfig.build.json');
  const args = [tsc, '-p', project, '--outDir', join(target, 'dist'), ...compilerOptions];
  execFileSync(process.execPath, args, { stdio: 'inherit' });
}

function writeModule(entry) {
  const commonJs = join(target, entry.require.default);
  const names = Object.keys(require(commonJs)).sort();
  const specifier = `./${basename(commonJs)}`;
  writeFileSync(
    join(target, entry.import.default),
    `import commonJs from '${specifier}';\nexport const {\n${names.map((name) => `  ${name},\n`).join('')}} = commonJs;\n`,
  );
  writeFileSync(join(target, entry.import.types), `export * from '${specifier}';\n`);
}
