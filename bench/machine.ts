import { execFileSync } from 'node:child_process';
import { cpus, release, totalmem, type } from 'node:os';
import { DataSource } from 'typeorm';

import { serverUrl } from './databases';
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
  readonly mariadb?: string;
  readonly addOn: boolean;
  readonly peers: Readonly<Record<string, string | undefined>>;
  /** The commit that was measured, if git knows it. */
  readonly commit?: string;
  /** ISO 8601, the day only. */
  readonly date: string;
}

export async function describeMachine(): Promise<Machine> {
  const commit = commitOf();
  const postgres = await versionOf('postgres', serverUrl('PostgreSQL'));
  const mariadb = await versionOf('mariadb', serverUrl('MariaDB'));
  return {
    cpu: cpus()[0]?.model.trim() ?? 'unknown',
    cores: cpus().length,
    memoryGb: Math.round(totalmem() / 2 ** 30),
    system: `${type()} ${release()}`,
    node: process.version,
    ...(postgres === undefined ? {} : { postgres }),
    ...(mariadb === undefined ? {} : { mariadb }),
    addOn: hasAddOn(),
    peers: peerVersions(),
    ...(commit === undefined ? {} : { commit }),
    date: new Date().toISOString().slice(0, 10),
  };
}

async function versionOf(
  type: 'postgres' | 'mariadb',
  url: string | undefined,
): Promise<string | undefined> {
  if (url === undefined) return undefined;
  const dataSource = await new DataSource({ type, url }).initialize();
  const [row] = await dataSource.query<{ version: string }[]>(
    type === 'postgres'
      ? "SELECT current_setting('server_version') AS version"
      : 'SELECT VERSION() AS version',
  );
  await dataSource.destroy();
  return row?.version;
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
