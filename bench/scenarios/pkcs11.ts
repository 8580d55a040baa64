import { randomBytes } from 'node:crypto';
import { existsSync, mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { performance } from 'node:perf_hooks';
import * as pkcs11js from 'pkcs11js';
import type { KeyBinding } from '../../src/kms/kms-provider';
import { pkcs11Kms } from '../../src/kms/pkcs11';
import { measure } from '../measure';
import type { Result, Scenario, Sizes } from '../scenario';

const LIBRARY = '/usr/lib/softhsm/libsofthsm2.so';
const PIN = 'bench-pin';
const LABEL = 'bench';
/** Sessions of both contenders, and requests that wait at once. */
const SESSIONS = 2;
const AT_ONCE = 8;
const BINDING: KeyBinding = {
  application: 'bench',
  keyId: '0123456789abcdef',
  keyName: 'default',
  purpose: 'data',
};
const KEY = randomBytes(32);

interface Contender {
  readonly name: string;
  wrapAndUnwrap(): Promise<void> | void;
}

/** Wrapping and unwrapping in SoftHSM2, and how long the event loop stands still meanwhile. */
export const pkcs11: Scenario = async (sizes) => {
  if (!existsSync(LIBRARY)) {
    console.log('pkcs11: skipped, there is no SoftHSM2 (apt-get install softhsm2)');
    return [];
  }
  const folder = mkdtempSync(join(tmpdir(), 'field-encryption-bench-'));
  try {
    return [await onSoftHsm(folder, sizes)];
  } finally {
    rmSync(folder, { recursive: true });
  }
};

async function onSoftHsm(folder: string, { values, rounds }: Sizes): Promise<Result> {
  const slot = makeToken(folder);
  const kms = pkcs11Kms({
    library: LIBRARY,
    token: { label: LABEL },
    pin: PIN,
    keyLabel: 'kek',
    sessions: SESSIONS,
    createKey: true,
  });
  await kms.wrapKey(KEY, BINDING);
  const contenders: Contender[] = [
    bareAsync(slot),
    bareBlocking(slot),
    {
      name: 'pkcs11Kms',
      wrapAndUnwrap: async () => {
        await kms.unwrapKey(await kms.wrapKey(KEY, BINDING), BINDING);
      },
    },
  ];
  const count = Math.ceil(values / 10);
  const times = new Map(contenders.map((contender) => [contender, new Float64Array(count)]));
  const stalls = new Map<Contender, number>();
  const measurements = await measure(
    contenders.map((contender) => ({
      name: contender.name,
      run: async () => {
        const longest = await watchLoop(() => repeat(contender, times.get(contender)));
        stalls.set(contender, Math.max(longest, stalls.get(contender) ?? 0));
      },
    })),
    rounds,
  );
  await kms.close?.();
  return {
    scenario: 'PKCS #11: wrap and unwrap a key in SoftHSM2',
    unit: `${String(count)} times, ${String(AT_ONCE)} at once, ${String(SESSIONS)} sessions`,
    measurements: measurements.map((measurement, i) => {
      const contender = contenders[i];
      if (contender === undefined) return measurement;
      const latency = percentiles(times.get(contender) ?? new Float64Array());
      const stall = `loop stood still ${(stalls.get(contender) ?? 0).toFixed(1)} ms`;
      return { ...measurement, variant: `${contender.name}: ${latency}; ${stall}` };
    }),
  };
}

async function repeat(contender: Contender, times = new Float64Array()): Promise<void> {
  let next = 0;
  const loop = async (): Promise<void> => {
    while (next < times.length) {
      const index = next++;
      const start = performance.now();
      await contender.wrapAndUnwrap();
      times[index] = performance.now() - start;
    }
  };
  await Promise.all(Array.from({ length: AT_ONCE }, loop));
}

/** The longest time in which a timer of 1 ms could not fire, in milliseconds. */
async function watchLoop(work: () => Promise<void>): Promise<number> {
  let last = performance.now();
  let longest = 0;
  const look = (): void => {
    longest = Math.max(longest, performance.now() - last - 1);
    last = performance.now();
  };
  const timer = setInterval(look, 1);
  await work();
  look();
  clearInterval(timer);
  return longest;
}

function percentiles(times: Float64Array): string {
  const sorted = times.toSorted();
  const at = (share: number): string =>
    (sorted[Math.min(sorted.length - 1, Math.floor(share * sorted.length))] ?? 0).toFixed(2);
  return `p50 ${at(0.5)}, p95 ${at(0.95)}, p99 ${at(0.99)} ms`;
}

let admin: pkcs11js.PKCS11 | undefined;

function makeToken(folder: string): Buffer {
  mkdirSync(join(folder, 'tokens'));
  const configuration = join(folder, 'softhsm2.conf');
  writeFileSync(
    configuration,
    `directories.tokendir = ${join(folder, 'tokens')}\nlog.level = ERROR\n`,
  );
  process.env.SOFTHSM2_CONF = configuration;
  admin = new pkcs11js.PKCS11();
  admin.load(LIBRARY);
  admin.C_Initialize({ flags: pkcs11js.CKF_OS_LOCKING_OK });
  const [empty] = admin.C_GetSlotList(true);
  if (empty === undefined) throw new Error('SoftHSM2 shows no slot');
  admin.C_InitToken(empty, 'bench-so-pin', LABEL);
  const [slot] = admin.C_GetSlotList(true);
  if (slot === undefined) throw new Error('SoftHSM2 lost its token');
  const session = admin.C_OpenSession(slot, pkcs11js.CKF_SERIAL_SESSION | pkcs11js.CKF_RW_SESSION);
  admin.C_Login(session, pkcs11js.CKU_SO, 'bench-so-pin');
  admin.C_InitPIN(session, PIN);
  admin.C_Logout(session);
  admin.C_CloseSession(session);
  return slot;
}

/** The asynchronous calls of pkcs11js, which leave the event loop free, on a pool of sessions. */
function bareAsync(slot: Buffer): Contender {
  const { hsm, kek, sessions } = bare(slot, SESSIONS);
  const free = [...sessions];
  const waiting: ((session: Buffer) => void)[] = [];
  const take = (): Promise<Buffer> | Buffer =>
    free.pop() ?? new Promise((resolve) => waiting.push(resolve));
  const give = (session: Buffer): void => {
    const next = waiting.shift();
    if (next === undefined) free.push(session);
    else next(session);
  };
  return {
    name: 'bare pkcs11js, asynchronous',
    wrapAndUnwrap: async () => {
      const session = await take();
      const mechanism = gcm();
      hsm.C_EncryptInit(session, mechanism, kek);
      const sealed = await hsm.C_EncryptAsync(session, KEY, Buffer.alloc(48));
      hsm.C_DecryptInit(session, mechanism, kek);
      await hsm.C_DecryptAsync(session, sealed, Buffer.alloc(48));
      give(session);
    },
  };
}

/** The plain calls, which block the event loop. */
function bareBlocking(slot: Buffer): Contender {
  const { hsm, kek, sessions } = bare(slot, 1);
  const [session = Buffer.alloc(0)] = sessions;
  return {
    name: 'bare pkcs11js, blocking',
    wrapAndUnwrap: () => {
      const mechanism = gcm();
      hsm.C_EncryptInit(session, mechanism, kek);
      const sealed = hsm.C_Encrypt(session, KEY, Buffer.alloc(48));
      hsm.C_DecryptInit(session, mechanism, kek);
      hsm.C_Decrypt(session, sealed, Buffer.alloc(48));
    },
  };
}

function bare(
  slot: Buffer,
  count: number,
): { hsm: pkcs11js.PKCS11; kek: Buffer; sessions: Buffer[] } {
  if (admin === undefined) throw new Error('SoftHSM2 is not initialised');
  const hsm = admin;
  const sessions = Array.from({ length: count }, () =>
    hsm.C_OpenSession(slot, pkcs11js.CKF_SERIAL_SESSION),
  );
  const [session = Buffer.alloc(0)] = sessions;
  hsm.C_FindObjectsInit(session, [{ type: pkcs11js.CKA_LABEL, value: 'kek' }]);
  const [kek = Buffer.alloc(0)] = hsm.C_FindObjects(session, 1);
  hsm.C_FindObjectsFinal(session);
  return { hsm, kek, sessions };
}

function gcm(): pkcs11js.Mechanism {
  const iv = randomBytes(12);
  const parameter = {
    type: pkcs11js.CK_PARAMS_AES_GCM_v240,
    iv,
    ivBits: 96,
    aad: Buffer.from('bench'),
    tagBits: 128,
  };
  return { mechanism: pkcs11js.CKM_AES_GCM, parameter };
}
