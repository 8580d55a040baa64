import { randomFillSync } from 'node:crypto';

/** Small, so that little is lost, or repeated, if a machine is copied while it runs. */
const POOL_BYTES = 16 * 1024;

const pool = Buffer.allocUnsafeSlow(POOL_BYTES);
let used = POOL_BYTES;

/**
 * Writes up to 16 KiB of random bytes to `target`.
 *
 * They come from a pool that one system call fills: some 30 times as fast as a `randomBytes` for
 * each nonce. Each byte is handed out once. For nonces and ids only; keys are drawn directly from
 * the system, since used bytes stay in the pool until it is filled again.
 *
 * @throws whatever the system's generator throws; there is no other source to fall back to
 */
export function fillRandom(target: Uint8Array, offset: number, bytes: number): void {
  if (used + bytes > POOL_BYTES) refill();
  pool.copy(target, offset, used, used + bytes);
  used += bytes;
}

function refill(): void {
  randomFillSync(pool);
  used = 0;
}
