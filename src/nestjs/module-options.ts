import { Module } from '@nestjs/common';
import type { DynamicModule, FactoryProvider, ModuleMetadata } from '@nestjs/common';
import type { TypeOrmModuleAsyncOptions, TypeOrmModuleOptions } from '@nestjs/typeorm';

import type { UpkeepOptions, UpkeepReport } from '../key-upkeep';
import type { ScheduleOptions } from '../keys/lifecycle/maintenance-schedule';
import type { FieldEncryptionOptions } from '../typeorm/declare/field-encryption-options';

/** What the factory of {@link FieldEncryptionModule.forRootAsync} returns. */
export interface FieldEncryptionModuleOptions extends FieldEncryptionOptions {
  /**
   * Whether the application refuses to start without its keys: if the passphrase is wrong, the KMS away or
   * the key table missing. With `false` it starts, and encrypted columns fail until the keys are there.
   * Defaults to `true`.
   */
  requireKeys?: boolean;
  /**
   * Runs `keys.maintain()` in this process, from the start and then every hour (`everyMs`) until the
   * application closes; failures go to the log of Nest. Defaults to no schedule.
   */
  maintenance?: UpkeepOptions & ScheduleOptions<UpkeepReport>;
}

/** The options of `TypeOrmModule.forRootAsync` for the encrypted DataSource. */
export interface EncryptedTypeOrmOptions extends Pick<
  TypeOrmModuleAsyncOptions,
  'imports' | 'inject' | 'extraProviders' | 'dataSourceFactory'
> {
  useFactory: (
    // The injected providers are known to the factory alone, as in TypeOrmModule itself.
    ...injected: never[]
  ) => TypeOrmModuleOptions | Promise<TypeOrmModuleOptions>;
}

/** Options of {@link FieldEncryptionModule.forRootAsync}. */
export interface FieldEncryptionModuleAsyncOptions {
  /** Modules whose providers both factories may inject. */
  imports?: ModuleMetadata['imports'];
  /** Name of the DataSource, as for TypeOrmModule. Defaults to the one without a name. */
  name?: string;
  /** Providers that are passed to `useFactory`. */
  inject?: FactoryProvider['inject'];
  useFactory: (
    ...injected: never[]
  ) => FieldEncryptionModuleOptions | Promise<FieldEncryptionModuleOptions>;
  /** What `TypeOrmModule.forRootAsync` would get. Takes its place: do not import both. */
  typeorm: EncryptedTypeOrmOptions;
}

/** Options of {@link FieldEncryptionModule.forRoot}: those of `TypeOrmModule.forRoot`, and those of the encryption. */
export type FieldEncryptionModuleRootOptions = TypeOrmModuleOptions & {
  /** Returns the options of the encryption, from what `inject` names. */
  encryption: FieldEncryptionModuleAsyncOptions['useFactory'];
} & Pick<FieldEncryptionModuleAsyncOptions, 'imports' | 'inject'>;

/** Token of the options within one FieldEncryptionModule. */
export const MODULE_OPTIONS = Symbol('FieldEncryptionModuleOptions');

/** A module that resolves the options once, for TypeOrmModule and FieldEncryptionModule. */
@Module({})
export class FieldEncryptionOptionsModule {
  static resolving({
    imports = [],
    inject = [],
    useFactory,
  }: FieldEncryptionModuleAsyncOptions): DynamicModule {
    return {
      module: FieldEncryptionOptionsModule,
      imports,
      providers: [{ provide: MODULE_OPTIONS, inject, useFactory }],
      exports: [MODULE_OPTIONS],
    };
  }
}
