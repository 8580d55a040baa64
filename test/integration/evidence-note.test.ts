import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { Entity, PrimaryColumn } from 'typeorm';
import type { DataSource } from 'typeorm';
import {
  ConfigurationError,
  Encrypted,
  fieldEncryption,
  fileAnchor,
  KeyStateError,
  verifyEvidence,
} from '../../src';
import type { EvidenceToVerify, FieldEncryptionOptions } from '../../src';
import { leafHash, MerkleTree } from '../../src/audit/merkle-tree';
import { ed25519Key } from '../../src/crypto/ed25519';
import { canonicalJson } from '../../src/encoding/canonical-json';
import type { CanonicalValue } from '../../src/encoding/canonical-json';
import { CONSISTENCY_FILE, writeConsistency } from '../../src/evidence/consistency-file';
import { earlierTree, requireContinuation } from '../../src/evidence/earlier-note';
import { sha256Of, writeEvidenceNote } from '../../src/evidence/evidence-note';
import { signatureLine, verifierKeyText } from '../../src/evidence/signed-note';
import { installationOf } from '../../src/typeorm/installation/installations';
import { describeDiagonal } from '../support/databases';
import type { TestDatabase } from '../support/databases';
import { FakeKms } from '../support/key-fixtures';
import { Cleanup, protect, rejection } from '../support/protected-database';

const TIME = new Date('2026-01-02T03:04:05.000Z');

@Entity()
class Note {
  @PrimaryColumn() id!: number;
  @Encrypted() text!: string;
}

/** A folder of evidence. */
interface Folder {
  readonly note: string;
  readonly files: Record<string, string>;
}

describeDiagonal('Evidence', (kind) => {
  const cleanup = new Cleanup();
  let database: TestDatabase;
  let dataSource: DataSource;
  let kms: FakeKms;
  let folder: string;

  async function start(options: Partial<FieldEncryptionOptions> = {}): Promise<DataSource> {
    return cleanup.add(
      await protect(database, { kms, application: 'St. Mary', ...options }).initialize(),
    );
  }

  beforeEach(async () => {
    folder = mkdtempSync(join(tmpdir(), 'field-encryption-evidence-'));
    kms = new FakeKms();
    database = await cleanup.create(kind, { entities: [Note], synchronize: true });
    dataSource = await start();
    await dataSource.getRepository(Note).insert({ id: 1, text: 'one' });
  });
  afterEach(async () => {
    await cleanup.run();
    rmSync(folder, { recursive: true, force: true });
  });

  const keys = (): ReturnType<typeof fieldEncryption>['keys'] => fieldEncryption(dataSource).keys;

  async function write(of = dataSource, since?: string): Promise<Folder> {
    const installation = installationOf(of);
    const { audit } = installation;
    const earlier = earlierTree(installation.options, since);
    const { report, consistency } = await audit.verify({ tree: earlier });
    if (earlier !== undefined) requireContinuation(report);
    const files = {
      'report.json': '{"rows":1}\n',
      'report.html': '<p>1</p>',
      ...(earlier === undefined || consistency.length === 0
        ? {}
        : {
            [CONSISTENCY_FILE]: writeConsistency(earlier.size, report.tree.size, consistency),
          }),
    };
    const digests = Object.fromEntries(
      Object.entries(files).map(([name, text]) => [name, sha256Of(text)]),
    );
    const content = { log: report, time: TIME.toISOString(), digests };
    return { note: await writeEvidenceNote(installation, content), files };
  }

  async function publicKey(): Promise<string> {
    return (await keys().publicKeys('reports')).at(-1)?.verifierKey ?? '';
  }

  /** Names of the checks that fail. */
  const failing = (evidence: EvidenceToVerify): string[] =>
    verifyEvidence(evidence).checks.flatMap(({ check, ok }) => (ok ? [] : [check]));

  it('is verified by the note, the files and the public key alone', async () => {
    const evidence = { ...(await write()), publicKey: '' };
    evidence.publicKey = await publicKey();
    await dataSource.destroy();
    const verified = verifyEvidence(evidence);
    expect(verified).toMatchObject({
      ok: true,
      note: { application: 'St. Mary', time: TIME.toISOString() },
    });
    expect(evidence.note).toMatch(/^St\.%20Mary\/audit-log\n\d+\n\S{44}\ntime /);
    expect(verified.checks.map(({ check }) => check)).toEqual(['signature', 'key', 'files', 'log']);
  });

  it('fails once any byte of the note or of a file was changed', async () => {
    const { note, files } = await write();
    const key = await publicKey();
    const bytes = Buffer.from(note);
    for (const at of bytes.keys()) {
      const changed = Buffer.from(bytes);
      changed[at] = (changed[at] ?? 0) ^ 1;
      expect(verifyEvidence({ note: changed, files, publicKey: key }).ok).toBe(false);
    }
    for (const [name, content] of Object.entries(files)) {
      for (const at of Buffer.from(content).keys()) {
        const changed = Buffer.from(content);
        changed[at] = (changed[at] ?? 0) ^ 1;
        const all = { ...files, [name]: changed };
        expect(failing({ note, files: all, publicKey: key })).toEqual(['files']);
      }
    }
    expect(failing({ note, files: {}, publicKey: key })).toEqual(['files']);
    const more = { ...files, 'report.ocsf.jsonl': '' };
    expect(failing({ note, files: more, publicKey: key })).toEqual(['files']);
  });

  it('follows the key over two rotations, from any version', async () => {
    const first = await write();
    const known = [await publicKey()];
    for (const id of [2, 3]) {
      await keys().rotateSigning('reports');
      await dataSource.getRepository(Note).insert({ id, text: 'more' });
      known.push(await publicKey());
    }
    const last = await write(dataSource, first.note);
    for (const key of known) {
      expect(failing({ ...last, publicKey: key, checkpoint: first.note })).toEqual([]);
    }
    expect(failing({ ...first, publicKey: known[2] ?? '' })).toEqual(['key']);
    expect(new Set(known).size).toBe(3);
  });

  it('does not follow a revoked key', async () => {
    const first = await write();
    const revoked = await publicKey();
    const [key] = await keys().publicKeys('reports');
    await keys().revoke(key?.id ?? '');
    expect((await rejection(write())).message).toContain('keys rotate --signing reports');
    await keys().rotateSigning('reports');
    const second = await write();
    expect(failing({ ...second, publicKey: revoked })).toEqual(['key']);
    expect(verifyEvidence({ ...second, publicKey: revoked }).note).toBeNull();
    expect(failing({ ...second, publicKey: await publicKey() })).toEqual([]);
    expect(await keys().publicKeys('reports')).toMatchObject([
      { state: 'compromised', isCompromised: true },
      { state: 'active', isCompromised: false },
    ]);
    expect(failing({ ...first, publicKey: revoked })).toEqual([]);
  });

  it('does not believe a history that a revoked key would lead through', async () => {
    await write();
    const first = await publicKey();
    await keys().rotateSigning('reports');
    const [key] = await keys().publicKeys('reports');
    await keys().revoke(key?.id ?? '');
    expect(failing({ ...(await write()), publicKey: first })).toEqual(['key']);
  });

  it('takes no key of another installation, and no text that is none', async () => {
    const evidence = await write();
    const own = await publicKey();
    const stranger = ed25519Key(Buffer.alloc(32, 9)).publicKey;
    const name = own.split('+')[0] ?? '';
    const other = verifierKeyText({ name, type: 'signer', publicKey: stranger });
    expect(failing({ ...evidence, publicKey: other })).toEqual(['key']);
    expect(failing({ ...evidence, note: 'report', publicKey: own })).toEqual(['signature']);
    expect(() => verifyEvidence({ ...evidence, publicKey: 'key' })).toThrow(ConfigurationError);
    expect(() => verifyEvidence({ ...evidence, publicKey: own, witness: own })).toThrow(
      ConfigurationError,
    );
  });

  it('shows that the log was not cut off or replaced since an earlier note', async () => {
    await write();
    const first = await write();
    const { log } = await grown();
    const second = await write(dataSource, first.note);
    const key = await publicKey();
    expect(second.files[CONSISTENCY_FILE]).toBeDefined();
    expect(failing({ ...second, publicKey: key, checkpoint: first.note })).toEqual([]);
    const again = await write(dataSource, second.note);
    expect(failing({ ...again, publicKey: key, checkpoint: second.note })).toEqual([]);
    expect(failing({ ...again, publicKey: key, checkpoint: first.note })).toEqual(['consistency']);

    await dataSource.query(`DELETE FROM field_encryption_audit WHERE seq > ${String(log - 3)}`);
    expect(await rejection(write(dataSource, second.note))).toBeInstanceOf(KeyStateError);
    const cut = await write();
    expect(failing({ ...cut, publicKey: key, checkpoint: second.note })).toEqual([
      'log',
      'consistency',
    ]);
    await grown();
    const replaced = await write();
    expect(failing({ ...replaced, publicKey: key, checkpoint: second.note })).toContain(
      'consistency',
    );
    expect((await rejection(write(dataSource, second.note))).message).toContain('otherHead');

    await dataSource.query('DELETE FROM field_encryption_audit WHERE seq = 2');
    const { report } = await installationOf(dataSource).audit.verify();
    expect(report.broken).toMatchObject({ seq: 2 });
    expect(failing({ ...(await write()), publicKey: key })).toEqual(['log']);
    expect(await rejection(write(dataSource, 'none'))).toBeInstanceOf(ConfigurationError);
  });

  /** Lets the log grow by several entries. */
  async function grown(): Promise<{ readonly log: number }> {
    for (let count = 0; count < 5; count += 1) await keys().rotate();
    return { log: (await fieldEncryption(dataSource).audit.verify()).entries };
  }

  it('has the tree that those who hold exported entries compute', async () => {
    const { audit } = fieldEncryption(dataSource);
    const exported = JSON.stringify(await audit.list({ after: 0, limit: 1000 }));
    const tree = new MerkleTree();
    for (const entry of JSON.parse(exported) as CanonicalValue[]) {
      tree.add(leafHash(canonicalJson(entry)));
    }
    expect((await audit.verify()).tree).toEqual(tree.head);
    expect(tree.size).toBeGreaterThan(1);
  });

  it('is signed by a signer of the application', async () => {
    const hsm = ed25519Key(Buffer.alloc(32, 5));
    const signer = {
      publicKey: hsm.publicKey,
      sign: (data: Uint8Array) => Promise.resolve(hsm.sign(data)),
    };
    const signed = await start({ signer });
    const evidence = await write(signed);
    const [key] = await fieldEncryption(signed).keys.publicKeys('reports');
    expect(key).toMatchObject({ id: null, version: null, state: 'active' });
    expect(failing({ ...evidence, publicKey: key?.verifierKey ?? '' })).toEqual([]);

    const wrong = await start({
      signer: { ...signer, sign: () => Promise.resolve(Buffer.alloc(64)) },
    });
    expect(await rejection(write(wrong))).toBeInstanceOf(ConfigurationError);
    await expect(start({ signer: { ...signer, publicKey: Buffer.alloc(31) } })).rejects.toThrow(
      'signer',
    );
  });

  it('shows the cosignature of a witness', async () => {
    const evidence = await write();
    const seed = ed25519Key(Buffer.alloc(32, 6));
    const witness = {
      name: 'witness.example/w1',
      type: 'witness',
      publicKey: seed.publicKey,
    } as const;
    const text = evidence.note.slice(0, evidence.note.lastIndexOf('\n\n') + 1);
    const stamp = Buffer.alloc(8);
    stamp.writeBigUInt64BE(1_700_000_000n);
    const cosignature = seed.sign(Buffer.from(`cosignature/v1\ntime 1700000000\n${text}`));
    const line = signatureLine(witness, Buffer.concat([stamp, cosignature]));
    const publicKeys = { publicKey: await publicKey(), witness: verifierKeyText(witness) };
    expect(failing({ ...evidence, ...publicKeys })).toEqual(['witness']);
    expect(failing({ ...evidence, ...publicKeys, note: evidence.note + line })).toEqual([]);
  });

  it('is remembered by the anchor, which shows that the log was cut off or replaced', async () => {
    const anchor = fileAnchor(join(folder, 'anchor'));
    dataSource = await start({ anchor });
    const verify = (): ReturnType<typeof audit.verify> => audit.verify();
    const { audit } = fieldEncryption(dataSource);
    const { log } = await grown();
    const before = readFileSync(join(folder, 'anchor'), 'utf8');
    expect(await verify()).toMatchObject({ ok: true, tree: { size: log } });
    expect(readFileSync(join(folder, 'anchor'), 'utf8')).toBe(before);

    const table = 'field_encryption_audit';
    await dataSource.query(
      `CREATE TABLE kept AS SELECT * FROM ${table} WHERE seq > ${String(log - 1)}`,
    );
    await dataSource.query(`DELETE FROM ${table} WHERE seq > ${String(log - 1)}`);
    expect((await verify()).broken).toEqual({ seq: log, problem: 'truncated' });
    await dataSource.query(`INSERT INTO ${table} SELECT * FROM kept`);
    expect((await verify()).broken).toBeNull();
    await dataSource.query(`DELETE FROM ${table} WHERE seq > ${String(log - 1)}`);
    await fieldEncryption(dataSource).keys.rotate();
    expect((await verify()).broken).toMatchObject({ problem: 'otherHead' });

    const later = await start({ anchor });
    expect((await fieldEncryption(later).audit.verify()).broken).toMatchObject({
      problem: 'otherHead',
    });
    const newest = (await fieldEncryption(later).keys.list()).length + 1_000;
    await fieldEncryption(later).keys.acceptEpoch(newest, { reason: 'restored' });
    expect((await fieldEncryption(later).audit.verify()).broken).toBeNull();
  });

  it('keeps working where an anchor cannot be written', async () => {
    const path = join(folder, 'anchor');
    const events: string[] = [];
    dataSource = await start({
      anchor: fileAnchor(path),
      onEvent: ({ type }) => events.push(type),
    });
    await grown();
    rmSync(path);
    writeFileSync(path, '');
    const anchor = installationOf(dataSource).options.anchor;
    if (anchor === undefined) throw new Error('there is no anchor');
    jest.spyOn(anchor, 'write').mockRejectedValue(new Error('read-only'));
    expect((await fieldEncryption(dataSource).audit.verify()).ok).toBe(true);
    expect(events).toContain('anchorFailed');
  });
});
