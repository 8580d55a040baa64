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
  './context': [
    ...[
      'Letter',
      'Patient',
      'fetchSecret',
      'openSomewhere',
      'sealSomewhere',
      'type SnippetContext',
    ],
  ],
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

const CONTEXT = join(__dirname, '..', 'support', 'documentation-context.ts');

/** What the pages show is the same with both majors: of them, the README is tried with 0.3, too. */
const pages = typeormMajor === 0 ? ['README.md'] : PAGES;

/** Pages with anything that runs. */
const runnable = pages.filter((page) =>
  blocksOf(readPage(page)).some(
    ({ language, needs }) =>
      ['ts', 'js', 'sql'].includes(language) || (language === 'sh' && needs === undefined),
  ),
);

/** Of each page, what is compiled and run, and what is typed into a shell. */
const shown = new Map(
  runnable.map((page) => {
    const blocks = blocksOf(readPage(page)).filter(concernsThisMajor);
    const snippets = blocks.filter(
      ({ language, file, from }) =>
        ['ts', 'js', 'sql'].includes(language) && file === undefined && from === undefined,
    );
    return [page, { blocks, snippets, folder: `snippets/${page.replace(/\W/g, '-')}` }] as const;
  }),
);

describe('The code of the pages', () => {
  let project: Project;
  let compiled: Outcome;

  // One run of the compiler: each takes seconds, most of them for the types of TypeORM.
  beforeAll(async () => {
    project = createProject(typeormMajor);
    project.write('snippets/tsconfig.json', JSON.stringify(SNIPPET_CONFIG));
    for (const [page, { snippets, folder }] of shown) {
      cpSync(CONTEXT, join(project.folder, folder, 'context.ts'));
      snippets.forEach((block, i) =>
        project.write(`${folder}/snippet-${String(i)}.ts`, moduleOf(block)),
      );
      project.write(`${folder}/main.ts`, mainOf(page, snippets));
    }
    compiled = await project.run('tsc', ['-p', 'snippets']);
  });
  afterAll(() => {
    project.dispose();
  });

  it('compiles', () => {
    expect(compiled).toMatchObject({ code: 0, stdout: '' });
  });

  it.each(runnable)('runs: %s', async (page) => {
    const main = `${shown.get(page)!.folder.replace('snippets/', 'snippets/dist/')}/main.js`;
    const { code, stderr } = await project.run('node', [main]);
    expect({ code, stderr: stderr.replace(/^\[snippet\].*\n/gm, '') }).toEqual({
      code: 0,
      stderr: '',
    });
  });
});

describe('The commands of the pages', () => {
  let quickStart: Project;

  // The other pages go on with the project of the quick start.
  beforeAll(async () => {
    quickStart = startedProject();
    await quickStart.run('tsc', []);
  });
  afterAll(() => {
    quickStart.dispose();
  });

  it.each(runnable.filter((page) => commandsOf(page).length > 0))('run: %s', async (page) => {
    const isQuickStart = page === 'README.md';
    const project = startedProject();
    writeFiles(project, page);
    if (!isQuickStart) {
      cpSync(join(quickStart.folder, 'dist'), join(project.folder, 'dist'), { recursive: true });
    }
    const script = shown.get(page)!.blocks.flatMap(shellOf).join('\n');
    const setUp = isQuickStart ? '' : 'node dist/main.js\n';
    // Readers run the quick start more than once.
    const again = isQuickStart ? 'echo AGAIN\nnode dist/main.js' : 'echo AGAIN';
    const whole = `${SHELL_PREAMBLE}${setUp}${script}\n${again}`;
    const { code, stdout, stderr } = await project.run('bash', ['-c', whole], {
      REPOSITORY: join(__dirname, '..', '..'),
      ...(isQuickStart ? {} : { FIELD_ENCRYPTION_PASSPHRASE: 'for the pages of the docs' }),
    });
    project.dispose();
    expect({ code, stderr: code === 0 ? '' : stderr }).toEqual({ code: 0, stderr: '' });
    const [first = '', second = ''] = stdout.split('AGAIN\n');
    for (const { content } of shown.get(page)!.blocks.filter(({ prints }) => prints)) {
      expect(first).toContain(content);
      if (isQuickStart) expect(second).toContain(content);
    }
  });
});

/** A project with the files that the README shows. */
function startedProject(): Project {
  const project = createProject(typeormMajor);
  writeFiles(project, 'README.md');
  return project;
}

function writeFiles(project: Project, page: string): void {
  for (const { file, content } of blocksOf(readPage(page)).filter(concernsThisMajor)) {
    if (file !== undefined) project.write(file, content);
  }
}

function commandsOf(page: string): Block[] {
  return shown
    .get(page)!
    .blocks.filter(({ language, needs }) => language === 'sh' && needs === undefined);
}

function concernsThisMajor({ typeorm }: Block): boolean {
  return typeorm === undefined || (typeorm === '0.3' && typeormMajor === 0);
}

function shellOf({ language, content, needs, file }: Block): string[] {
  if (file !== undefined) return scheduledCommands(content);
  return language === 'sh' && needs === undefined ? [content] : [];
}

/** The commands that a crontab or a manifest runs, written as text or as a list. */
function scheduledCommands(content: string): string[] {
  return content.replace(/[[\]",]/g, ' ').match(/npx +field-encryption .*/g) ?? [];
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
    'export async function snippet({ dataSource, patients, letters }: SnippetContext): Promise<void> {',
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
