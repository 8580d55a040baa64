import type { KmsHealth, KmsProvider, NamedKmsHealth } from '../kms/kms-provider';
import { describeFailure } from './described-failure';
import { ANSWER_MS, within } from './in-time';

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
