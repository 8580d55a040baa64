import { existsSync, readdirSync, readFileSync } from 'node:fs';
import { dirname, join, resolve } from 'node:path';
import { anchorsOf, blocksOf, PAGES, readPage } from '../support/documentation';

const root = join(__dirname, '..', '..');

describe('The documentation', () => {
  it('has a section for every error code, and none for others', () => {
    const sources = ['src/errors.ts', 'src/cli/terminal/command-error.ts'].map((file) =>
      readFileSync(join(root, file), 'utf8'),
    );
    const codes = new Set(sources.flatMap((source) => source.match(/'ERR_\w+'/g) ?? []));
    const documented = readPage('docs/troubleshooting.md').match(/^## ERR_\w+$/gm) ?? [];
    expect(documented.map((heading) => `'${heading.slice(3)}'`).sort()).toEqual([...codes].sort());
  });

  it('has a row for every code of the doctor, with its level', () => {
    const source = readFileSync(join(root, 'src/doctor/finding.ts'), 'utf8');
    const levels = [...source.matchAll(/^ {2}([A-Z_]+): '(\w+)',$/gm)].map(([, ...row]) => row);
    const rows = [...readPage('docs/doctor.md').matchAll(/^\| `([A-Z_]+)` \| (\w+) \|/gm)];
    expect(levels.length).toBeGreaterThan(40);
    expect(rows.map(([, ...row]) => row).sort()).toEqual(levels.sort());
  });

  it('names every command', () => {
    const folder = join(root, 'src/cli/commands');
    const files = readdirSync(folder, { recursive: true, encoding: 'utf8' });
    const sources = [
      join(root, 'src/cli/program.ts'),
      ...files.filter((file) => file.endsWith('.ts')),
    ]
      .map((file) => readFileSync(resolve(folder, file), 'utf8'))
      .join('');
    const groups = ['keys', 'audit', 'data', 'schema'];
    const commands = [...sources.matchAll(/\b(\w+)\s*\.command\('([\w-]+)'\)/g)]
      .filter(([, parent, name]) => parent !== 'program' || !groups.includes(String(name)))
      .map(([, parent, name]) => (parent === 'program' ? String(name) : `${parent} ${name}`));
    commands.push(
      ...[...sources.matchAll(/\[\s*'([a-z]+)',\s*'/g)].map(([, mode]) => `data ${mode}`),
    );
    expect(commands).toContain('data reencrypt');
    const page = readPage('docs/commands.md');
    for (const command of commands) expect(page).toContain(`| \`${command}`);
  });

  it.each(PAGES)('links from %s to what is there', (page) => {
    const markdown = readPage(page);
    const links = [...markdown.matchAll(/\]\((?!https?:)([^)#]*)(?:#([^)]*))?\)/g)];
    for (const [, path = '', anchor] of links) {
      const target = path === '' ? page : join(dirname(page), path);
      expect([target, existsSync(join(root, target))]).toEqual([target, true]);
      if (anchor !== undefined) expect(anchorsOf(readPage(target))).toContain(anchor);
    }
  });

  it.each(PAGES)('shows in %s what the files say that it takes code from', (page) => {
    for (const { from, content } of blocksOf(readPage(page))) {
      if (from !== undefined) expect(readFileSync(join(root, from), 'utf8')).toContain(content);
    }
  });

  it.each(PAGES)('names above each snippet in %s the file that it is for', (page) => {
    for (const { file, from, lead, line } of blocksOf(readPage(page))) {
      if (file === undefined && from === undefined) continue;
      const name = file ?? from!.replace('examples/nest-clinic/', 'src/');
      const named = [...lead.matchAll(/`([\w./-]+\.\w+)`/g)].map(([, path]) => path);
      // A test of this repository is shown for one of the reader's.
      const isThere = named.includes(name) || (name.startsWith('test/') && named.length > 0);
      expect([page, line, isThere]).toEqual([page, line, true]);
    }
  });

  it.each(PAGES)('has no block in %s that the tests would not run', (page) => {
    for (const { language, file, prints, content, line } of blocksOf(readPage(page))) {
      const checked = ['ts', 'js', 'sh', 'sql'].includes(language) || file !== undefined;
      const picture =
        language === 'text' && (prints === true || content.includes('->') || content.includes('|'));
      expect([page, line, checked || picture]).toEqual([page, line, true]);
    }
  });
});
