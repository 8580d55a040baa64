import { ANSWER_MS, NoAnswerError, within } from '../async/time-limit';
import { FieldEncryptionError } from '../errors';
import type { KmsHealth, KmsProvider, NamedKmsHealth } from '../kms/kms-provider';
import { databaseCode } from '../typeorm/connection/transient-conflict';

/** Messages of drivers may hold statements and settings: of them, the code is told and no more. */
export function describeFailure(error: unknown): string {
  if (error instanceof FieldEncryptionError) return error.message;
  if (error instanceof NoAnswerError) return `${error.message}.`;
  const code = databaseCode(error);
  return code === '' ? 'an unexpected error.' : `the database answered ${code}.`;
}

const MAX_DETAIL_CHARS = 1_000;

/**
 * The health of a provider as it says itself. Never throws and never hangs, as the port demands; a
 * provider of the application may all the same.
 */
export async function askKms(kms: KmsProvider): Promise<NamedKmsHealth> {
  try {
    return named(kms.name, await within(ANSWER_MS, Promise.resolve(kms.health())));
  } catch (error) {
    return unanswered(kms, error);
  }
}

/** The health of a provider that has failed to say it. */
export function unanswered({ name }: KmsProvider, error: unknown): NamedKmsHealth {
  return { name, ok: false, reachable: false, detail: describeFailure(error) };
}

/** The members of the port alone, whatever else a provider of the application returns. */
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
