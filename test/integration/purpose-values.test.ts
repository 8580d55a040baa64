import { randomUUID } from 'node:crypto';
import { Entity, PrimaryColumn } from 'typeorm';
import {
  BlindIndex,
  ConfigurationError,
  DecryptionError,
  Encrypted,
  fieldEncryption,
  MalformedCiphertextError,
  UnsupportedValueError,
} from '../../src';
import { describeDiagonal } from '../support/databases';
import { openEncrypted, useEncryptedDatabase } from '../support/encrypted-database';
import { rawRows } from '../support/stored-rows';

@Entity()
class Session {
  @PrimaryColumn('uuid') id: string = randomUUID();
  @Encrypted({ id: 'jobs' }) @BlindIndex() secret!: string;
}

describeDiagonal('Values of a purpose', (database) => {
  const opened = useEncryptedDatabase(database, { entities: [Session] });
  const encryption = () => fieldEncryption(opened.dataSource);

  it('come back as they were', async () => {
    const text = encryption().value('jobs');
    const stored = await text.encrypt('canary');
    expect(stored).toMatch(/^A[Q-Za-f][\w-]+$/);
    await expect(text.decrypt(stored)).resolves.toBe('canary');
    const json = encryption().value('cache', { type: 'json', storage: 'binary' });
    await expect(json.decrypt(await json.encrypt({ canary: [1] }))).resolves.toEqual({
      canary: [1],
    });
  });

  it('survive a rotation, and a DataSource that is initialized again', async () => {
    const jobs = encryption().value('jobs');
    const stored = await jobs.encrypt('canary');
    await encryption().keys.rotate();
    const newer = await jobs.encrypt('canary');
    expect(newer.slice(0, 12)).not.toBe(stored.slice(0, 12));
    await opened.dataSource.destroy();
    await opened.dataSource.initialize();
    await expect(jobs.decrypt(stored)).resolves.toBe('canary');
    await expect(jobs.decrypt(newer)).resolves.toBe('canary');
  });

  it('open under their purpose only, and under a key of their name', async () => {
    const stored = await encryption().value('jobs', { key: 'queues' }).encrypt('canary');
    await expect(encryption().value('cache').decrypt(stored)).rejects.toThrow(DecryptionError);
    await expect(encryption().value('jobs').decrypt(stored)).resolves.toBe('canary');
    const names = (await encryption().keys.list()).map(({ name }) => name);
    expect(names).toContain('queues');
  });

  it('never open in a column, nor a value of a column under a purpose', async () => {
    const sessions = opened.dataSource.getRepository(Session);
    await sessions.insert({ id: randomUUID(), secret: 'canary' });
    const [row] = await rawRows(opened.dataSource, Session);
    // The column has the purpose for its id.
    const jobs = encryption().value('jobs');
    await expect(jobs.decrypt(row?.['secret'])).rejects.toThrow(DecryptionError);
    await expect(
      encryption().decryptValue(Session, 'secret', await jobs.encrypt('canary')),
    ).rejects.toThrow(DecryptionError);
    expect(await jobs.token('canary')).not.toBe(row?.['secret_bidx']);
  });

  it('have tokens that are equal for equal values of one purpose', async () => {
    const jobs = encryption().value('jobs');
    expect(await jobs.token('canary')).toBe(await encryption().value('jobs').token('canary'));
    expect(await jobs.token('canary')).not.toBe(await jobs.token('canary 2'));
    expect(await jobs.token('canary')).not.toBe(await encryption().value('cache').token('canary'));
  });

  it.each([null, undefined, '', 'canary', Buffer.of(1, 2), 5])('are not %p', async (stored) => {
    await expect(encryption().value('jobs').decrypt(stored)).rejects.toThrow(
      MalformedCiphertextError,
    );
  });

  it('refuse values of other types, and purposes that are none', async () => {
    await expect(encryption().value('jobs').encrypt(5)).rejects.toThrow(UnsupportedValueError);
    await expect(encryption().value('jobs').encrypt(null)).rejects.toThrow(UnsupportedValueError);
    expect(() => encryption().value('')).toThrow(ConfigurationError);
    expect(() => encryption().value('x'.repeat(257))).toThrow(ConfigurationError);
    expect(() => encryption().value('\ud800')).toThrow(ConfigurationError);
    for (const options of [
      { type: 'zzz' },
      { storage: 'zzz' },
      { key: '../x' },
      { other: 1 },
      null,
    ]) {
      expect(() => encryption().value('jobs', options as object)).toThrow(ConfigurationError);
    }
  });

  it('refuse a scope without a kind, and a key beside a scope', () => {
    for (const scope of [undefined, null, false, 7]) {
      expect(() => encryption().value('jobs', { scope: scope as never })).toThrow(
        ConfigurationError,
      );
    }
    const both = { scope: 'tenant', key: 'queues' };
    expect(() => encryption().value('jobs', both)).toThrow('Leave one of them out');
  });

  it('need no encrypted column', async () => {
    const empty = await openEncrypted(database, { entities: [] });
    try {
      const jobs = fieldEncryption(empty.dataSource).value('jobs');
      await expect(jobs.decrypt(await jobs.encrypt('canary'))).resolves.toBe('canary');
      expect(await jobs.token('canary')).toHaveLength(43);
    } finally {
      await empty.dispose();
    }
  });
});
