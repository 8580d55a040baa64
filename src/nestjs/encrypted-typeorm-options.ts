import type { DynamicModule } from '@nestjs/common';
import type { TypeOrmModuleAsyncOptions, TypeOrmModuleOptions } from '@nestjs/typeorm';
import { DataSource } from 'typeorm';
import type { DataSourceOptions } from 'typeorm';

import { FieldEncryptionError } from '../errors';
import type { FieldEncryptionOptions } from '../typeorm/declare/field-encryption-options';
import { withFieldEncryption } from '../typeorm/with-field-encryption';

import { MODULE_OPTIONS } from './module-options';
import type {
  FieldEncryptionModuleAsyncOptions,
  FieldEncryptionModuleOptions,
} from './module-options';

/** Carries the resolved options to the `dataSourceFactory`, which is given those of TypeORM and no provider. */
const ENCRYPTION = Symbol('field encryption');

type CarryingOptions = DataSourceOptions & { [ENCRYPTION]: FieldEncryptionModuleOptions };

/** Returns the options for `TypeOrmModule.forRootAsync` with which it makes an encrypted DataSource. */
export function encryptedTypeOrmOptions(
  { name, imports = [], typeorm }: FieldEncryptionModuleAsyncOptions,
  encryption: DynamicModule,
): TypeOrmModuleAsyncOptions {
  const { inject = [], dataSourceFactory = newDataSource } = typeorm;
  const makeOptions = typeorm.useFactory as (
    ...injected: unknown[]
  ) => TypeOrmModuleOptions | Promise<TypeOrmModuleOptions>;
  const named = name === undefined ? {} : { name };
  return {
    ...typeorm,
    ...named,
    imports: [encryption, ...imports, ...(typeorm.imports ?? [])],
    inject: [MODULE_OPTIONS, ...(inject as unknown[])],
    useFactory: async (options: FieldEncryptionModuleOptions, ...injected: unknown[]) => ({
      ...failingAtOnce(await makeOptions(...injected)),
      // TypeOrmModule 11 looks for it here when it destroys the DataSource.
      ...named,
      [ENCRYPTION]: options,
    }),
    dataSourceFactory: async (options) => {
      const { [ENCRYPTION]: carried, ...dataSourceOptions } = options as CarryingOptions;
      return withFieldEncryption(
        await dataSourceFactory(dataSourceOptions),
        withoutThoseOfTheModule(carried),
      );
    },
  };
}

function withoutThoseOfTheModule(options: FieldEncryptionModuleOptions): FieldEncryptionOptions {
  const own = { ...options };
  delete own.requireKeys;
  delete own.maintenance;
  return own;
}

/** Keeps TypeOrmModule from trying again what no waiting mends, such as a wrong option. */
function failingAtOnce(options: TypeOrmModuleOptions): TypeOrmModuleOptions {
  const { toRetry = () => true } = options;
  return {
    ...options,
    toRetry: (error: unknown) =>
      !(error instanceof FieldEncryptionError && !error.retryable) && toRetry(error),
  };
}

function newDataSource(options?: DataSourceOptions): Promise<DataSource> {
  return Promise.resolve(new DataSource(options as DataSourceOptions));
}
