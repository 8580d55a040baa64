import { ANSWER_MS, NoAnswerError, within } from '../async/time-limit';
import { FieldEncryptionError } from '../errors';
import type { KmsHealth, KmsProvider, NamedKmsHealth } from '../kms/kms-provider';
import { databaseCode } from '../typeorm/dialect/database-code';

/** Describes a failure by the code alone if a driver threw it: its message may quote statements and settings. */
export function describeFailure(error: unknown): string {
  if (error instanceof FieldEncryptionError) return error.message;
  if (error instanceof NoAnswerError) return `${error.message}.`;
  const code = databaseCode(error);
  return code === '' ? 'an unexpected error.' : `the database answered ${code}.`;
}

const MAX_DETAIL_CHARS = 1_000;

/**
 * Asks a provider for its health. Never throws and never hangs, even if a provider of the application
 * breaks the contract of the port and does.
 */
export async function askKms(kms: KmsProvider): Promise<NamedKmsHealth> {
  try {
    return named(kms.name, await within(ANSWER_MS, Promise.resolve(kms.health())));
  } catch (error) {
    return unanswered(kms, error);
  }
}

/** Returns the health of a provider that failed to report it. */
export function unanswered({ name }: KmsProvider, error: unknown): NamedKmsHealth {
  return { name, ok: false, reachable: false, detail: describeFailure(error) };
}

/** Picks the properties of the port, whatever else a provider of the application returns. */
function named(name: string, health: KmsHealth): NamedKmsHealth {
  const { detail, reachable, authenticated, mayWrap, mayUnwrap, members } = health;
  const { kekVersion, kekCreatedAt } = health;
  return {
    ...{ name, ok: health.ok, reachable, authenticated, mayWrap, mayUnwrap },
    ...{ kekVersion, kekCreatedAt },
    detail: detail?.slice(0, MAX_DETAIL_CHARS),
    members: members?.map((member) => named(member.name, member)),
  };
}
