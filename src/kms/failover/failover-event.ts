/** What failover tells; labels of providers and ids of data keys, never more. */
export type FailoverEvent =
  /** A provider is taken as down: it is not asked any more until a probe finds it well. */
  | { readonly type: 'providerDown'; readonly provider: string }
  /** A provider is well again, and asked again in its turn. */
  | { readonly type: 'providerUp'; readonly provider: string }
  /** A data key was wrapped by some of the providers only. Rewrap when all are up. */
  | {
      readonly type: 'partlyWrapped';
      readonly keyId: string;
      readonly by: readonly string[];
      readonly missing: readonly string[];
    };
