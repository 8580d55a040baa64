import { execFile } from 'node:child_process';
import { symlinkSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { promisify } from 'node:util';

import { ES_MODULE, installPacked } from '../support/packed-project';
import type { PackedProject } from '../support/packed-project';

const run = promisify(execFile);
const root = join(__dirname, '..', '..');

/** TypeORM, native drivers and SDKs stay outside: the peers of the library. */
const EXTERNALS = `
const peers = Object.keys(require('typeorm-field-encryption/package.json').peerDependencies);
const isExternal = (id) => peers.some((peer) => id === peer || id.startsWith(peer + '/'));
`;

const BUNDLERS: readonly (readonly [string, string])[] = [
  [
    'esbuild',
    `require('esbuild').build({
       entryPoints: ['application.mjs'], outfile: 'bundle-esbuild.cjs', bundle: true, platform: 'node',
       plugins: [{ name: 'externals', setup(build) {
         build.onResolve({ filter: /^[^./]/ }, ({ path }) => (isExternal(path) ? { path, external: true } : undefined));
       } }],
     })`,
  ],
  [
    'webpack',
    `require('node:util').promisify(require('webpack'))({
       entry: './application.mjs', target: 'node', mode: 'production', devtool: false,
       output: { path: __dirname, filename: 'bundle-webpack.cjs', library: { type: 'commonjs2' } },
       optimization: { minimize: false },
       node: { __filename: false, __dirname: false },
       externals: [({ request }, done) => (isExternal(request) ? done(null, 'commonjs ' + request) : done())],
     }).then((stats) => { if (stats.hasErrors()) throw new Error(stats.toString()); })`,
  ],
  [
    'rollup',
    `require('rollup').rollup({
       input: 'application.mjs', external: isExternal, onwarn() {},
       plugins: [
         require('@rollup/plugin-node-resolve').default({ exportConditions: ['node'], preferBuiltins: true }),
         require('@rollup/plugin-commonjs').default({ ignoreTryCatch: true, ignoreDynamicRequires: true }),
         require('@rollup/plugin-json').default(),
       ],
     }).then((bundle) => bundle.write({ file: 'bundle-rollup.cjs', format: 'cjs', inlineDynamicImports: true }))`,
  ],
];

describe('An application in one file', () => {
  let project: PackedProject;

  beforeAll(() => {
    project = installPacked('typeorm', 'better-sqlite3');
    for (const name of ['esbuild', 'webpack', 'rollup', '@rollup']) {
      symlinkSync(join(root, 'node_modules', name), join(project.folder, 'node_modules', name));
    }
    writeFileSync(join(project.folder, 'application.mjs'), ES_MODULE);
  });
  afterAll(() => {
    project.dispose();
  });

  it.each(BUNDLERS)(
    'works as %s makes it',
    async (name, build) => {
      const { folder } = project;
      writeFileSync(
        join(folder, `${name}.cjs`),
        `${EXTERNALS}${build}.catch((e) => { console.error(e); process.exit(1); });`,
      );
      await run(process.execPath, [`${name}.cjs`], { cwd: folder });
      // Each loads something else: nothing, an ES module, and another one or an add-on.
      for (const SUITE of ['xaes-256-gcm', 'aes-256-gcm-siv', 'xchacha20-poly1305']) {
        const env = { ...project.environment(`${name}-${SUITE}.db`), SUITE };
        const ran = run(process.execPath, [`bundle-${name}.cjs`], { cwd: folder, env });
        expect((await ran).stdout).toContain('ALL CHECKS HOLD');
      }
    },
    120_000,
  );
});
