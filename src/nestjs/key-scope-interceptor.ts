import type { CallHandler, ExecutionContext, NestInterceptor } from '@nestjs/common';

import { withKeyScope } from '../keys/scopes/scope-context';
import type { ScopeIds } from '../keys/scopes/scope-context';

import { handledWithin } from './handled-within';

/** Returns the scope of a request; undefined for one that has none, such as a login. */
export type RequestScope = (context: ExecutionContext) => ScopeIds | undefined;

/**
 * Runs pipes and handler of a request in `withKeyScope`, and what a returned Observable does when it is subscribed to.
 * Guards come before, so that they can find out the scope; what they read of encrypted columns needs it in the
 * condition.
 *
 * @example
 * ```ts
 * const tenantOf: RequestScope = (context) => context.switchToHttp().getRequest().tenantId;
 *
 * providers: [{ provide: APP_INTERCEPTOR, useValue: new KeyScopeInterceptor(tenantOf) }]
 * ```
 */
export class KeyScopeInterceptor implements NestInterceptor {
  readonly #scopeOf: RequestScope;

  constructor(scopeOf: RequestScope) {
    this.#scopeOf = scopeOf;
  }

  /** @internal */
  intercept(context: ExecutionContext, next: CallHandler): ReturnType<CallHandler['handle']> {
    const scope = this.#scopeOf(context);
    if (scope === undefined) return next.handle();
    return handledWithin(next, (work) => withKeyScope(scope, work));
  }
}
