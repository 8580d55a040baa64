import type { CallHandler, ExecutionContext, NestInterceptor } from '@nestjs/common';

import { runAs } from '../audit/actor';
import type { Actor } from '../audit/actor';

/** Returns the actor of a request; undefined for one that has none, such as a login. */
export type RequestActor = (context: ExecutionContext) => Actor | undefined;

/**
 * Runs pipes and handler of a request in `runAs`. Guards come before, so that they can find out who it is.
 *
 * @example
 * ```ts
 * const actorOf: RequestActor = (context) => context.switchToHttp().getRequest().user;
 *
 * providers: [{ provide: APP_INTERCEPTOR, useValue: new ActorInterceptor(actorOf) }]
 * ```
 */
export class ActorInterceptor implements NestInterceptor {
  readonly #actorOf: RequestActor;

  constructor(actorOf: RequestActor) {
    this.#actorOf = actorOf;
  }

  /** @internal */
  intercept(context: ExecutionContext, next: CallHandler): ReturnType<CallHandler['handle']> {
    const actor = this.#actorOf(context);
    // The handler runs later, in the context that Nest takes from this call.
    return actor === undefined ? next.handle() : runAs(actor, () => next.handle());
  }
}
