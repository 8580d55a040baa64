export { ActorInterceptor } from './nestjs/actor-interceptor';
export type { RequestActor } from './nestjs/actor-interceptor';
export {
  AccessDeniedFilter,
  ApprovalRequiredFilter,
  RateLimitedFilter,
  ScopeMismatchFilter,
  UnsupportedQueryFilter,
  UnsupportedValueFilter,
} from './nestjs/exception-filters';
export { FieldEncryptionModule } from './nestjs/field-encryption-module';
export { getFieldEncryptionToken, InjectFieldEncryption } from './nestjs/handle-token';
export { FieldEncryptionHealthIndicator } from './nestjs/health-indicator';
export type { FieldEncryptionHealth } from './nestjs/health-indicator';
export { KeyScopeInterceptor } from './nestjs/key-scope-interceptor';
export type { RequestScope } from './nestjs/key-scope-interceptor';
export type {
  EncryptedTypeOrmOptions,
  FieldEncryptionModuleAsyncOptions,
  FieldEncryptionModuleOptions,
  FieldEncryptionModuleRootOptions,
} from './nestjs/module-options';
