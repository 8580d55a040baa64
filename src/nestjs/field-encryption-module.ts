import { Inject, Logger, Module } from '@nestjs/common';
import type { DynamicModule, OnApplicationBootstrap } from '@nestjs/common';
import { getDataSourceToken, TypeOrmModule } from '@nestjs/typeorm';

import { fieldEncryption } from '../field-encryption';
import type { FieldEncryption } from '../field-encryption';
import type { UpkeepReport } from '../key-upkeep';

import { encryptedTypeOrmOptions } from './encrypted-typeorm-options';
import { getFieldEncryptionToken } from './handle-token';
import { FieldEncryptionHealthIndicator } from './health-indicator';
import { FieldEncryptionOptionsModule, MODULE_OPTIONS } from './module-options';
import type {
  FieldEncryptionModuleAsyncOptions,
  FieldEncryptionModuleOptions,
  FieldEncryptionModuleRootOptions,
} from './module-options';

/** Token of the handle within one FieldEncryptionModule, whatever its DataSource is called. */
const HANDLE = Symbol('FieldEncryption');

const logger = new Logger('FieldEncryptionModule');

/**
 * A TypeOrmModule whose DataSource has field encryption. Provides, in the whole application, the
 * {@link FieldEncryption} of the DataSource and a {@link FieldEncryptionHealthIndicator}.
 *
 * Without its keys the application does not start, unless `requireKeys` is `false`. The keys are forgotten
 * and maintenance stopped when TypeOrmModule destroys the DataSource: in `app.close()`, and on a signal if
 * `app.enableShutdownHooks()` was called.
 */
@Module({})
export class FieldEncryptionModule implements OnApplicationBootstrap {
  readonly #encryption: FieldEncryption;
  readonly #options: FieldEncryptionModuleOptions;

  /** @internal */
  constructor(
    @Inject(HANDLE) encryption: FieldEncryption,
    @Inject(MODULE_OPTIONS) options: FieldEncryptionModuleOptions,
  ) {
    this.#encryption = encryption;
    this.#options = options;
  }

  /**
   * Imports TypeOrmModule with an encrypted DataSource, in place of `TypeOrmModule.forRoot`. Call it once for each
   * encrypted DataSource.
   *
   * @example
   * ```ts
   * FieldEncryptionModule.forRoot({
   *   type: 'postgres',
   *   autoLoadEntities: true,
   *   inject: [ConfigService],
   *   encryption: (config: ConfigService) => ({
   *     kms: localKms({ passphrase: config.getOrThrow('KEY_PASSPHRASE') }),
   *     application: 'clinic',
   *   }),
   * })
   * ```
   */
  static forRoot({
    imports = [],
    inject = [],
    encryption,
    ...typeorm
  }: FieldEncryptionModuleRootOptions): DynamicModule {
    return FieldEncryptionModule.forRootAsync({
      ...(typeorm.name !== undefined && { name: typeorm.name }),
      imports,
      inject,
      useFactory: encryption,
      typeorm: { useFactory: () => typeorm },
    });
  }

  /**
   * Imports TypeOrmModule with an encrypted DataSource, in place of `TypeOrmModule.forRootAsync`.
   *
   * @example
   * ```ts
   * FieldEncryptionModule.forRootAsync({
   *   inject: [ConfigService],
   *   useFactory: (config: ConfigService) => ({
   *     kms: localKms({ passphrase: config.getOrThrow('KEY_PASSPHRASE') }),
   *     application: 'clinic',
   *   }),
   *   typeorm: {
   *     inject: [ConfigService],
   *     useFactory: (config: ConfigService) => ({ type: 'postgres', url: config.getOrThrow('DATABASE_URL') }),
   *   },
   * })
   * ```
   */
  static forRootAsync(options: FieldEncryptionModuleAsyncOptions): DynamicModule {
    const encryption = FieldEncryptionOptionsModule.resolving(options);
    const token = getFieldEncryptionToken(options.name);
    return {
      module: FieldEncryptionModule,
      global: true,
      imports: [
        encryption,
        TypeOrmModule.forRootAsync(encryptedTypeOrmOptions(options, encryption)),
      ],
      providers: [
        { provide: token, inject: [getDataSourceToken(options.name)], useFactory: fieldEncryption },
        { provide: HANDLE, useExisting: token },
        FieldEncryptionHealthIndicator,
      ],
      exports: [token, FieldEncryptionHealthIndicator],
    };
  }

  /** @internal */
  async onApplicationBootstrap(): Promise<void> {
    const { requireKeys = true, maintenance } = this.#options;
    if (requireKeys) await this.#encryption.ready();
    if (maintenance === undefined) return;
    this.#encryption.keys.scheduleMaintenance({
      onError: logFailure,
      onReport: logFailures,
      ...maintenance,
    });
  }
}

function logFailures({ failures, failedSteps }: UpkeepReport): void {
  for (const { keyName, message } of failures) logger.error(`Key "${keyName}": ${message}`);
  for (const { step, message } of failedSteps) logger.error(`${step}: ${message}`);
}

function logFailure(error: unknown): void {
  logger.error('Maintenance of the keys failed.', error);
}
