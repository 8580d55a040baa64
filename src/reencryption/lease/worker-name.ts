import { randomBytes } from 'node:crypto';
import { hostname } from 'node:os';

/** The workers of this process. */
const workersHere = new Set<string>();

/** Names a worker of this process by host, process and a random part. */
export function newWorker(): string {
  const name = `${hostname()}:${String(process.pid)}:${randomBytes(6).toString('hex')}`;
  workersHere.add(name);
  return name;
}

/** Ends a worker of this process. */
export function endWorker(name: string): void {
  workersHere.delete(name);
}

/** Whether a worker of this machine is gone, so that it will not renew its lease. */
export function isDeadHere(owner: string): boolean {
  const [, host, pid] = /^(.*):(\d+):[0-9a-f]+$/.exec(owner) ?? [];
  if (host !== hostname()) return false;
  if (Number(pid) === process.pid) return !workersHere.has(owner);
  try {
    process.kill(Number(pid), 0);
    return false;
  } catch (error) {
    return (error as { code?: unknown }).code === 'ESRCH';
  }
}
