import { FieldEncryptionError, KeyStateError } from '../../errors';
import { askKms } from '../../health/ask-kms';
import type { NamedKmsHealth } from '../../kms/kms-provider';
import { LocalKmsProvider } from '../../kms/local/local-kms-provider';
import { finding } from '../finding';
import type { Check, DatabaseCheck, Finding } from '../finding';

const DAY_MS = 86_400_000;
/** NIST SP 800-57 part 1, section 5.3.6: a key-wrapping key is used for at most two years. */
const KEK_MAX_DAYS = 730;
/** The least strength of a passphrase that protects the data of a database. */
const WANTED_BITS = 64;

/** Checks the health of the KMS providers, and the age of their KEK. */
export const kmsHealth: Check = async ({ options }) => {
  const { kms, otherKms = [], now = () => new Date() } = options;
  const found = await Promise.all(
    [kms, ...otherKms].map(async (provider) => describe(await askKms(provider), now())),
  );
  return found.flat();
};

/** Checks the strength of the passphrase of a local KMS. */
export const passphrase: Check = async ({ options: { kms, otherKms = [] } }) => {
  const found: Finding[] = [];
  for (const provider of [kms, ...otherKms]) {
    if (provider instanceof LocalKmsProvider) found.push(...(await examined(provider)));
  }
  return found;
};

function describe({ name, ok, detail, kekCreatedAt }: NamedKmsHealth, now: Date): Finding[] {
  const said = detail === undefined ? '' : `: ${detail}`;
  if (!ok) {
    return [
      finding(
        'KMS_UNHEALTHY',
        `kms "${name}" does not serve${said}`,
        'Keys in memory serve until keyCache.maxAgeMs. Bring the KMS back, or correct its settings.',
      ),
    ];
  }
  return [
    finding('KMS', `kms "${name}" serves${said}`),
    ...(kekCreatedAt === undefined ? [] : [ageOf(name, kekCreatedAt, now)]),
  ];
}

function ageOf(kms: string, createdAt: Date, now: Date): Finding {
  const days = Math.floor((now.getTime() - createdAt.getTime()) / DAY_MS);
  const message = `The KEK of kms "${kms}" was made ${String(days)} days ago.`;
  return days > KEK_MAX_DAYS
    ? finding(
        'KEK_OLD',
        message,
        'Rotate it in the KMS, unless the KMS does so by itself, and run `field-encryption keys rewrap`.',
      )
    : finding('KEK_AGE', message);
}

async function examined(kms: LocalKmsProvider): Promise<Finding[]> {
  const examination = await kms.examinePassphrase().catch(() => undefined);
  // The failure is reported as the health of the KMS.
  if (examination === undefined) return [];
  const { bits, scrypt, derivationMs } = examination;
  const { logN, r, p } = scrypt;
  return [
    finding(
      'PASSPHRASE_KEK',
      `The KEK is derived from a passphrase by scrypt with N=2^${String(logN)}, r=${String(r)}, p=${String(p)}, in ${String(derivationMs)} ms.`,
    ),
    ...(bits < WANTED_BITS
      ? [
          finding(
            'PASSPHRASE_WEAK',
            'The passphrase can be guessed by somebody who has the database: it is made of few words, numbers or repetitions.',
            'Generate one (`openssl rand -base64 24`), and move the keys to it with `field-encryption keys rewrap --to`.',
          ),
        ]
      : []),
  ];
}

/** Checks that the anchor of the key table can be read and written, and that this application wrote it. */
export const anchor: DatabaseCheck = async (installation, runner) => {
  const { anchor: port } = installation.options;
  if (port === undefined) return [];
  try {
    await (port.check?.() ?? port.read());
  } catch (error) {
    return [unreadable(reasonOf(error))];
  }
  if (!(await installation.store.exists(runner))) return [];
  try {
    await installation.audit.anchor?.compare(runner);
  } catch (error) {
    // Other failures, such as of the KMS, are findings of their own.
    if (error instanceof KeyStateError) return [unreadable(error.message)];
    if (!(error instanceof FieldEncryptionError)) throw error;
  }
  return [];
};

/** Returns the code alone: errors of a secret store may quote secrets. */
function reasonOf(error: unknown): string {
  if (error instanceof FieldEncryptionError) return error.message;
  const { code } = (error ?? {}) as { code?: unknown };
  return typeof code === 'string' ? `it fails with ${code}.` : 'it fails with an unexpected error.';
}

function unreadable(why: string): Finding {
  return finding(
    'ANCHOR_UNREADABLE',
    `The anchor of the key table cannot be used: ${why}`,
    'Give this process the right to read and write it, and for a file to write its folder. Until then, keys ' +
      'that need it are not loaded, or an older key table is not told after a restart.',
  );
}
