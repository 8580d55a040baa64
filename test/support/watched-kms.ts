import type { KmsProvider } from '../../src';

/** Returns a KMS provider that calls `before` ahead of each request, which is refused with what that throws. */
export function watchedKms(
  kms: KmsProvider,
  before: (operation: 'wrapKey' | 'unwrapKey') => void,
): KmsProvider {
  return new Proxy(kms, {
    get: (target, name) => {
      const member: unknown = Reflect.get(target, name);
      if (typeof member !== 'function') return member;
      const call = (...args: unknown[]): unknown => Reflect.apply(member, target, args);
      if (name !== 'wrapKey' && name !== 'unwrapKey') return call;
      return async (...args: unknown[]) => {
        before(name);
        return call(...args);
      };
    },
  });
}
