import { Inject, Injectable } from '@nestjs/common';
import { ModuleRef } from '@nestjs/core';

import type { FieldEncryption } from '../field-encryption';
import type { HealthOptions, HealthStatus } from '../health/health-report';

import { getFieldEncryptionToken } from './handle-token';

/** The result of an indicator, in the form of `@nestjs/terminus`. */
export type FieldEncryptionHealth<K extends string> = Record<
  K,
  { status: 'up' | 'down'; encryption: HealthStatus }
>;

/**
 * A health indicator for `@nestjs/terminus`, for **readiness only**: it is down while encrypted columns cannot
 * be read or written. In a liveness probe, an outage of the KMS would have every process restarted, and
 * what served from keys in memory would stop as well.
 */
@Injectable()
export class FieldEncryptionHealthIndicator {
  readonly #modules: ModuleRef;

  /** @internal */
  constructor(@Inject(ModuleRef) modules: ModuleRef) {
    this.#modules = modules;
  }

  /**
   * Reports the health of an encrypted DataSource: `up` while its keys serve, even if the KMS is away. The
   * names of keys and tables are left to {@link FieldEncryption.health}, as anyone may see a probe's response.
   *
   * @param key - name of the result.
   * @param name - name of the DataSource; defaults to the one without a name.
   */
  async isHealthy<K extends string>(
    key: K,
    { name, ...options }: HealthOptions & { readonly name?: string } = {},
  ): Promise<FieldEncryptionHealth<K>> {
    const token = getFieldEncryptionToken(name);
    const encryption = this.#modules.get<FieldEncryption>(token, { strict: false });
    const { ok, status } = await encryption.health(options);
    return {
      [key]: { status: ok ? 'up' : 'down', encryption: status },
    } as FieldEncryptionHealth<K>;
  }
}
