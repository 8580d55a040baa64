import { execFileSync } from 'node:child_process';
import type { ChildProcessWithoutNullStreams } from 'node:child_process';
import { once } from 'node:events';
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';

import { createProject } from '../support/project';
import { describeServer } from './servers/availability';
import { OPENBAO, OpenBao } from './servers/openbao';
import { Prometheus, PROMETHEUS } from './servers/prometheus';
import { freePort } from './servers/server-process';

const EXAMPLE = join(__dirname, '..', '..', 'examples', 'monitoring');

/**
 * A clinic whose process reads a patient ten times a second, and on `halt` rotates its key and leaves the
 * re-encryption after the first of ten pages. Its keys are eight days older than they are.
 */
const SERVICE = `
const { PrometheusExporter } = require('@opentelemetry/exporter-prometheus');
const { MeterProvider } = require('@opentelemetry/sdk-metrics');
const { DataSource, EntitySchema } = require('typeorm');
const { blindIndexColumns, encryptedColumn, fieldEncryption, withFieldEncryption } = require('typeorm-field-encryption');
const { instrument } = require('typeorm-field-encryption/opentelemetry');
const { vaultKms } = require('typeorm-field-encryption/vault');
const { ADDRESS: address, TOKEN: token, PORT } = process.env;

const Patient = new EntitySchema({
  name: 'Patient',
  columns: { id: { type: Number, primary: true }, ssn: encryptedColumn(), ...blindIndexColumns('ssn') },
});

async function main() {
  const dataSource = withFieldEncryption(
    new DataSource({ type: 'better-sqlite3', database: 'clinic.db', entities: [Patient], synchronize: true }),
    {
      kms: vaultKms({ address, token, key: 'clinic', timeoutMs: 500, totalTimeoutMs: 1000 }),
      application: 'clinic',
      keyCache: { ttlMs: 1000, maxAgeMs: 5000 },
      now: () => new Date(Date.now() + 8 * 86_400_000),
    },
  );
  await dataSource.initialize();
  const patients = dataSource.getRepository(Patient);
  await patients.insert(Array.from({ length: 1000 }, (_, id) => ({ id, ssn: 'ssn ' + id })));

  const reader = new PrometheusExporter({ host: '127.0.0.1', port: Number(PORT) });
  const meter = new MeterProvider({ readers: [reader] }).getMeter('clinic');
  instrument(dataSource, { meter, status: { everyMs: 500 } });
  setInterval(() => patients.findOneBy({ id: 7 }).catch(() => undefined), 100);
  process.stdin.on('data', async () => {
    await fieldEncryption(dataSource).keys.rotate();
    const halt = new AbortController();
    const onProgress = () => halt.abort();
    await fieldEncryption(dataSource).reencrypt({ batchSize: 100, signal: halt.signal, onProgress });
    process.stdout.write('halted\\n');
  });
  process.stdout.write('ready\\n');
}

main().catch((error) => {
  console.error(error);
  process.exit(1);
});
`;

describeServer(PROMETHEUS, 'the rules of examples/monitoring', (command) => {
  it('are valid, and fire when they should and not otherwise', () => {
    execFileSync('promtool', ['check', 'rules', 'rules.yml'], { cwd: EXAMPLE, stdio: 'pipe' });
    execFileSync('promtool', ['test', 'rules', 'rules.test.yml'], { cwd: EXAMPLE, stdio: 'pipe' });
    const [rules, tests] = ['rules.yml', 'rules.test.yml'].map((file) =>
      readFileSync(join(EXAMPLE, file), 'utf8'),
    );
    const alerts = [...rules!.matchAll(/alert: (\w+)/g)].map(([, name]) => name);
    expect(alerts.length).toBeGreaterThan(9);
    expect(alerts.filter((name) => !tests!.includes(`alertname="${name}"`))).toEqual([]);
  });

  describeServer(OPENBAO, 'with a service under', (openbao) => {
    let vault: OpenBao;
    let service: ChildProcessWithoutNullStreams;
    let prometheus: Prometheus;

    const stops: (() => Promise<unknown>)[] = [];

    beforeAll(async () => {
      vault = await OpenBao.start(openbao);
      stops.push(() => vault.stop());
      await vault.ask('POST', 'sys/mounts/transit', { type: 'transit' });
      await vault.ask('POST', 'transit/keys/clinic', { type: 'aes256-gcm96' });
      const project = createProject(1);
      stops.push(async () => project.dispose());
      project.write('service.js', SERVICE);
      const port = String(await freePort());
      const env = { ADDRESS: vault.address, TOKEN: vault.rootToken, PORT: port };
      service = project.start('node', ['service.js'], env);
      stops.push(async () => service.kill('SIGKILL') && once(service, 'exit'));
      await said(service, 'ready');
      prometheus = await Prometheus.start(command, hurried(), `127.0.0.1:${port}`);
      stops.push(() => prometheus.stop());
    });
    afterAll(async () => {
      for (const stop of stops.reverse()) await stop();
    });

    it('fires exactly the alerts for a halted re-encryption, then those for a KMS that has stopped', async () => {
      await expectFiring([]);
      service.stdin.write('halt\n');
      await said(service, 'halted');
      await expectFiring(['FieldEncryptionReencryptionBehind']);
      await vault.stop();
      await expectFiring([
        'FieldEncryptionKeyAccessErrors',
        'FieldEncryptionKmsUnreachable',
        'FieldEncryptionReencryptionBehind',
      ]);
    });

    /** Waits until these alerts fire, and for as long again as any of the rules looks back. */
    async function expectFiring(names: readonly string[]): Promise<void> {
      for (let seconds = 0; seconds < 60; seconds += 1) {
        if (String(await prometheus.firing()) === String(names) && seconds > 3 * WINDOW_S) break;
        await sleep(1000);
      }
      expect(await prometheus.firing()).toEqual(names);
    }
  });
});

const WINDOW_S = 10;

/** The rules with shorter times to look back and to wait, and the same limits: minutes become seconds. */
function hurried(): string {
  return readFileSync(join(EXAMPLE, 'rules.yml'), 'utf8')
    .replace(/\[(5m|10m|15m|1h)\]/g, `[${String(WINDOW_S)}s]`)
    .replace(/offset 10m/g, `offset ${String(WINDOW_S)}s`)
    .replace(/for: \w+/g, 'for: 2s');
}

/** Waits for a line of a process. */
function said(child: ChildProcessWithoutNullStreams, line: string): Promise<void> {
  return new Promise((resolve, reject) => {
    let output = '';
    const listen = (data: Buffer): void => {
      output += String(data);
      if (output.includes(`${line}\n`)) resolve();
    };
    child.stdout.on('data', listen);
    child.stderr.on('data', listen);
    child.once('exit', () => reject(new Error(`ended before "${line}":\n${output}`)));
  });
}
