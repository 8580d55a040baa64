import { execFileSync } from 'node:child_process';
import { version } from '../../../package.json';
import { parse } from '../../../src/cli/program';

/** What is printed to stdout meanwhile. */
async function printed(...args: string[]): Promise<string> {
  let text = '';
  const spy = jest.spyOn(process.stdout, 'write').mockImplementation((chunk) => {
    text += String(chunk);
    return true;
  });
  try {
    expect(await parse(args)).toBeUndefined();
  } finally {
    spy.mockRestore();
  }
  return text;
}

describe('The command line', () => {
  it.each([
    [['keys', 'rotate', '--wrong'], 'field-encryption keys rotate --help'],
    [['keys', 'wrong'], 'field-encryption keys --help'],
    [['-d', 'keys', 'data', 'reencrypt', '--batch-size', '0'], 'field-encryption data reencrypt'],
    [['wrong'], 'field-encryption --help'],
  ])('points at the help of the command after %p', async (args, help) => {
    await expect(parse(args)).rejects.toMatchObject({
      exitCode: 2,
      remedy: expect.stringContaining(help) as string,
    });
  });

  it('names the operations that the audit log can be asked for', async () => {
    const list = ['audit', 'list', '--operation'];
    for (const operation of ['rotate', 'acceptEpoch', 'data reencrypt']) {
      expect(await parse([...list, operation])).toBeDefined();
    }
    await expect(parse([...list, 'rotated'])).rejects.toMatchObject({
      exitCode: 2,
      message: expect.stringMatching(/rotate, .*acceptEpoch, .*data reencrypt/) as string,
    });
  });

  it('prints the version of the package', async () => {
    expect(await printed('--version')).toBe(`${version}\n`);
  });

  it('completes commands and options in a shell', async () => {
    const script = await printed('completion', 'bash');
    const complete = (...words: string[]): string[] => {
      const setUp = `COMP_WORDS=("$@"); COMP_CWORD=$(($# - 1)); _field_encryption`;
      const shell = `${script}\n${setUp}; echo "\${COMPREPLY[*]}"`;
      const args = ['-c', shell, 'bash', 'field-encryption', ...words];
      return execFileSync('bash', args, { encoding: 'utf8' }).trim().split(' ');
    };
    expect(complete('')).toEqual(expect.arrayContaining(['init', 'keys', 'data', '--data-source']));
    expect(complete('-d', 'dist/data-source.js', 'keys', 'ro')).toEqual(['rotate']);
    expect(complete('keys', 'rotate', '--i')).toEqual(['--index']);
    expect(complete('audit', 'verify', '--exp')).toEqual(['--expect-head']);
    expect(complete('data', 'wor')).toEqual(['work']);
    expect(complete('audit', 'list', '--l')).toEqual(['--last', '--limit']);
  });

  it.each(['zsh', 'fish'])('has a script for %s with every command', async (shell) => {
    const script = await printed('completion', shell);
    for (const command of ['/keys/accept-epoch', '/data/reencrypt', '/schema/contract']) {
      expect(script).toContain(command);
    }
  });
});
