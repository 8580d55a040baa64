import { cpSync } from 'node:fs';
import { join } from 'node:path';
import { typeormMajor } from '../support/databases';
import { blocksOf, PAGES, readPage } from '../support/documentation';
import type { Block } from '../support/documentation';
import { createProject } from '../support/project';
import type { Outcome, Project } from '../support/project';

/** Names that snippets use without importing them. */
const PRELUDE: Record<string, string[]> = {
  typeorm: [
    ...['Any', 'Column', 'DataSource', 'Entity', 'EntitySchema', 'Equal', 'In', 'IsNull', 'Like'],
    ...['ManyToOne', 'MoreThan', 'Not', 'Or', 'PrimaryGeneratedColumn', 'ViewColumn', 'ViewEntity'],
  ],
  'typeorm-field-encryption': [
    ...['BlindIndex', 'Encrypted', 'FieldEncryptionError', 'blindIndexColumns', 'encryptedColumn'],
    ...['fieldEncryption', 'fieldEncryptionMigrations', 'localKms', 'withFieldEncryption'],
    ...[
      'type KeyBinding',
      'type KmsHealth',
      'type KmsProvider',
      'type Normalizer',
      'type WrappedKey',
    ],
  ],
  'typeorm-field-encryption/pkcs11': ['pkcs11Kms'],
  './context': ['Patient', 'fetchSecret', 'openSomewhere', 'sealSomewhere', 'type SnippetContext'],
};

const SNIPPET_CONFIG = {
  compilerOptions: {
    ...{ target: 'es2022', module: 'nodenext', strict: true, skipLibCheck: true, types: ['node'] },
    ...{ experimentalDecorators: true, emitDecoratorMetadata: true },
    ...{ rootDir: '.', outDir: 'dist' },
  },
};

/** npm installs nothing here: what it would install must be there, what it would run must exist. */
const SHELL_PREAMBLE = `
set -euo pipefail
npm() {
  case "$1" in
    ci) ;;
    install) shift; for name in "$@"; do [[ "$name" == --save-dev || -d "node_modules/\${name%@[0-9]*}" ]]; done ;;
    run) node -e "require('assert')(require('$REPOSITORY/package.json').scripts['$2'])" ;;
    *) node -e "require('assert')(require('$REPOSITORY/package.json').scripts['$1'])" ;;
  esac
}
npx() { "$@"; }
`;

jest.setTimeout(180_000);

/** What the pages show is the same with both majors: of them, the README is tried with 0.3, too. */
const pages = typeormMajor === 0 ? ['README.md'] : PAGES;

/** Pages with anything that runs. */
const runnable = pages.filter((page) =>
  blocksOf(readPage(page)).some(
    ({ language, needs }) =>
      ['ts', 'js', 'sql'].includes(language) || (language === 'sh' && needs === undefined),
  ),
);

/** A page without such blocks has no such test. */
function itWith(blocks: readonly Block[]): (title: string, test: () => Promise<void>) => void {
  return blocks.length > 0 ? it : () => undefined;
}

describe.each(runnable)('What %s shows', (page) => {
  const blocks = blocksOf(readPage(page)).filter(concernsThisMajor);
  const snippets = blocks.filter(
    ({ language, file }) => ['ts', 'js', 'sql'].includes(language) && file === undefined,
  );
  const commands = blocks.filter(({ language, needs }) => language === 'sh' && needs === undefined);
  let project: Project;

  beforeAll(() => {
    project = createProject(typeormMajor);
    // The other pages go on with the project of the quick start.
    for (const block of blocksOf(readPage('README.md')).filter(concernsThisMajor)) {
      if (block.file !== undefined) project.write(block.file, block.content);
    }
  });
  afterAll(() => {
    project.dispose();
  });

  itWith(snippets)('compiles and runs: code', async () => {
    const context = join(__dirname, '..', 'support', 'documentation-context.ts');
    project.write('snippets/tsconfig.json', JSON.stringify(SNIPPET_CONFIG));
    cpSync(context, join(project.folder, 'snippets', 'context.ts'));
    snippets.forEach((block, i) =>
      project.write(`snippets/snippet-${String(i)}.ts`, moduleOf(block)),
    );
    project.write('snippets/main.ts', mainOf(page, snippets));

    expect(await project.run('tsc', ['-p', 'snippets'])).toMatchObject({ code: 0, stdout: '' });
    const { code, stderr } = await project.run('node', ['snippets/dist/main.js']);
    expect({ code, stderr: stderr.replace(/^\[snippet\].*\n/gm, '') }).toEqual({
      code: 0,
      stderr: '',
    });
  });

  itWith(commands)('runs: commands', async () => {
    const script = blocks.flatMap(shellOf).join('\n');
    const setUp = page === 'README.md' ? '' : 'npx tsc\nnode dist/main.js\n';
    // Readers run the quick start more than once.
    const again = page === 'README.md' ? 'echo AGAIN\nnode dist/main.js' : 'echo AGAIN';
    const { code, stdout, stderr } = await shell(`${SHELL_PREAMBLE}${setUp}${script}\n${again}`);
    expect({ code, stderr: code === 0 ? '' : stderr }).toEqual({ code: 0, stderr: '' });
    const [first = '', second = ''] = stdout.split('AGAIN\n');
    for (const { content } of blocks.filter(({ prints }) => prints)) {
      expect(first).toContain(content);
      if (page === 'README.md') expect(second).toContain(content);
    }
  });

  function shell(script: string): Promise<Outcome> {
    return project.run('bash', ['-c', script], {
      REPOSITORY: join(__dirname, '..', '..'),
      ...(page === 'README.md' ? {} : { FIELD_ENCRYPTION_PASSPHRASE: 'for the pages of the docs' }),
    });
  }
});

function concernsThisMajor({ typeorm }: Block): boolean {
  return typeorm === undefined || (typeorm === '0.3' && typeormMajor === 0);
}

function shellOf({ language, content, needs }: Block): string[] {
  return language === 'sh' && needs === undefined ? [content] : [];
}

/** A snippet as a module: its own imports first, then what it takes for granted. */
function moduleOf({ language, content }: Block): string {
  const code = language === 'sql' ? `await dataSource.query(${JSON.stringify(content)});` : content;
  const imports = code.match(/^import [\s\S]*?;$/gm) ?? [];
  const body = imports.reduce((rest, statement) => rest.replace(statement, ''), code);
  const imported = imports.join(' ');
  const granted = Object.entries(PRELUDE).map(([module, names]) => {
    const missing = names.filter(
      (name) => !new RegExp(`\\b${name.replace('type ', '')}\\b`).test(imported),
    );
    return `import { ${missing.join(', ')} } from '${module}';`;
  });
  return [
    ...imports,
    ...granted,
    'export async function snippet({ dataSource, patients }: SnippetContext): Promise<void> {',
    body,
    '}',
  ].join('\n');
}

/** Runs every snippet that can run here in a database of its own, and names the line of one that fails. */
function mainOf(page: string, snippets: readonly Block[]): string {
  const calls = snippets.flatMap(({ line, throws, needs }, i) =>
    needs === undefined
      ? [
          `  await check('${page}:${String(line)}', ${JSON.stringify(throws ?? '')}, (await import('./snippet-${String(i)}.js')).snippet);`,
        ]
      : [],
  );
  return `
import { withContext, type SnippetContext } from './context';

async function check(where: string, expected: string, snippet: (c: SnippetContext) => Promise<void>): Promise<void> {
  let code = '';
  const log = { log: console.log, error: console.error };
  console.log = console.error = () => undefined;
  try {
    await withContext(snippet);
  } catch (error) {
    code = (error as { code?: string }).code ?? String(error);
    if (code !== expected) log.error(where, error);
  } finally {
    Object.assign(console, log);
  }
  if (code !== expected) {
    console.error(where + ': wanted ' + (expected || 'no error') + ', got ' + (code || 'none'));
    process.exitCode = 1;
  }
}

async function main(): Promise<void> {
${calls.join('\n')}
}

void main();
`;
}
