import { execFileSync } from 'node:child_process';
import { cpus, release, totalmem, type } from 'node:os';
import { Client } from 'pg';

import { peerVersions } from './peers';

/** The machine that the figures were measured on. */
export interface Machine {
  readonly cpu: string;
  readonly cores: number;
  readonly memoryGb: number;
  readonly system: string;
  readonly node: string;
  /** `undefined` if there was no server. */
  readonly postgres?: string;
  readonly addOn: boolean;
  readonly peers: Readonly<Record<string, string | undefined>>;
  /** The commit that was measured, if git knows it. */
  readonly commit?: string;
  /** ISO 8601, the day only. */
  readonly date: string;
}

export async function describeMachine(postgresUrl: string | undefined): Promise<Machine> {
  const commit = commitOf();
  return {
    cpu: cpus()[0]?.model.trim() ?? 'unknown',
    cores: cpus().length,
    memoryGb: Math.round(totalmem() / 2 ** 30),
    system: `${type()} ${release()}`,
    node: process.version,
    ...(postgresUrl === undefined ? {} : { postgres: await postgresVersion(postgresUrl) }),
    addOn: hasAddOn(),
    peers: peerVersions(),
    ...(commit === undefined ? {} : { commit }),
    date: new Date().toISOString().slice(0, 10),
  };
}

async function postgresVersion(url: string): Promise<string> {
  const client = new Client({ connectionString: url });
  await client.connect();
  const { rows } = await client.query<{ server_version: string }>('SHOW server_version');
  await client.end();
  return rows[0]?.server_version ?? 'unknown';
}

/** Whether the native add-on is installed where the library looks for it. */
export function hasAddOn(): boolean {
  try {
    require.resolve('typeorm-field-encryption-native');
    return true;
  } catch {
    return false;
  }
}

function commitOf(): string | undefined {
  try {
    return execFileSync('git', ['describe', '--always', '--dirty', '--abbrev=12'], {
      cwd: __dirname,
      encoding: 'utf8',
      stdio: ['ignore', 'pipe', 'ignore'],
    }).trim();
  } catch {
    return undefined;
  }
}
