import {
  chmodSync,
  existsSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmSync,
  writeFileSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { CommandError } from '../../../src/cli/terminal/command-error';
import { keysBackup } from '../../../src/cli/commands/keys-backup';
import { readPassphrase } from '../../../src/cli/terminal/prompt';
import type { Session } from '../../../src/cli/load/session';

const folder = mkdtempSync(join(tmpdir(), 'field-encryption-cli-'));
afterAll(() => {
  rmSync(folder, { recursive: true });
});

describe('A file with the passphrase of a backup', () => {
  const file = join(folder, 'passphrase');
  let warnings: jest.SpiedFunction<typeof process.emitWarning>;
  beforeEach(() => {
    warnings = jest.spyOn(process, 'emitWarning').mockImplementation(() => undefined);
  });

  function write(mode: number): void {
    writeFileSync(file, 'correct horse battery staple\n');
    chmodSync(file, mode);
  }

  it.each([0o620, 0o602, 0o666])('of mode %o, which others may write, is refused', async (mode) => {
    write(mode);
    const reading = readPassphrase({ passphraseFile: file }, false);
    await expect(reading).rejects.toThrow(CommandError);
    await expect(reading).rejects.toThrow(file);
  });

  it.each([0o444, 0o640])(
    'of mode %o, which others may read, is read with a warning',
    async (mode) => {
      write(mode);
      expect(await readPassphrase({ passphraseFile: file }, false)).toBe(
        'correct horse battery staple',
      );
      expect(warnings.mock.calls).toEqual([[expect.stringContaining(file), expect.anything()]]);
    },
  );

  it('of the owner alone is read without one', async () => {
    write(0o600);
    await readPassphrase({ passphraseFile: file }, false);
    expect(warnings).not.toHaveBeenCalled();
  });
});

describe('A backup file', () => {
  it('replaces none that came while the KMS was asked, and leaves no share', async () => {
    const file = join(folder, 'keys.backup');
    const sharesTo = join(folder, 'shares');
    const backup = (): Promise<object> => {
      writeFileSync(file, 'of somebody else');
      return Promise.resolve({ id: 'aa', file: 'content', keys: 1, shares: ['one', 'two'] });
    };
    const session = { fieldEncryption: { keys: { backup } } } as unknown as Session;
    const options = { shares: 2, threshold: 2, sharesTo, dryRun: false };
    await expect(keysBackup(session, file, options)).rejects.toThrow('exists already');
    expect(readFileSync(file, 'utf8')).toBe('of somebody else');
    expect(readdirSync(sharesTo)).toEqual([]);
    expect(readdirSync(folder).filter((name) => name.endsWith('.tmp'))).toEqual([]);
    expect(existsSync(file)).toBe(true);
  });
});
