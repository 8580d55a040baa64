import { randomBytes } from 'node:crypto';
import { existsSync, mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { performance } from 'node:perf_hooks';
import * as pkcs11js from 'pkcs11js';

import type { KeyBinding } from '../../src/kms/kms-provider';
import { pkcs11Kms } from '../../src/kms/pkcs11';
import { measure, percentiles } from '../measure';
import type { Variant } from '../measure';
import type { Result, Scenario, Sizes } from '../scenario';
import { VARIANTS } from '../variants';

const LIBRARY = '/usr/lib/softhsm/libsofthsm2.so';
const PIN = 'bench-pin';
const LABEL = 'bench';
/** Sessions of each contender, and concurrent requests. */
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

/** Wrapping and unwrapping in SoftHSM2, and how long they block the event loop. */
export const pkcs11: Scenario = {
  majors: [1],
  databases: ['SQLite in memory'],
  run: async ({ sizes }) => {
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
  },
};

async function onSoftHsm(folder: string, { wraps, rounds }: Sizes): Promise<Result> {
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
      name: VARIANTS.pkcs11Kms,
      wrapAndUnwrap: async () => {
        await kms.unwrapKey(await kms.wrapKey(KEY, BINDING), BINDING);
      },
    },
  ];
  const variants = contenders.map((contender) => underLoad(contender, wraps));
  const measurements = await measure(variants, { items: wraps, rounds });
  await kms.close?.();
  return {
    scenario: 'PKCS #11',
    setting: 'SoftHSM2',
    unit: `one of ${String(wraps)} times wrap and unwrap, ${String(AT_ONCE)} at once, ${String(SESSIONS)} sessions`,
    measurements,
  };
}

/** Also measures how long the event loop was blocked, without the warm-up. */
function underLoad(contender: Contender, wraps: number): Variant {
  const times: number[] = [];
  const stalls: number[] = [];
  return {
    name: contender.name,
    run: async () => {
      stalls.push(await watchLoop(() => repeat(contender, wraps, times)));
    },
    figures: () => ({ ...percentiles(times), 'longest stall ms': Math.max(...stalls.slice(1)) }),
  };
}

async function repeat(contender: Contender, wraps: number, times: number[]): Promise<void> {
  let begun = 0;
  const loop = async (): Promise<void> => {
    while (begun++ < wraps) {
      const start = performance.now();
      await contender.wrapAndUnwrap();
      times.push(performance.now() - start);
    }
  };
  await Promise.all(Array.from({ length: AT_ONCE }, loop));
}

/** Returns the longest time, in milliseconds, in which a timer of 1 ms could not fire. */
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

/** Uses the asynchronous calls of pkcs11js, which do not block the event loop, with a pool of sessions. */
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
    name: VARIANTS.bareHsm,
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

/** Uses the plain calls, which block the event loop. */
function bareBlocking(slot: Buffer): Contender {
  const { hsm, kek, sessions } = bare(slot, 1);
  const [session = Buffer.alloc(0)] = sessions;
  return {
    name: VARIANTS.bareHsmBlocking,
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
