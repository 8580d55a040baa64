import type { CallHandler, ExecutionContext, NestInterceptor } from '@nestjs/common';

import { runAs } from '../audit/actor';
import type { Actor } from '../audit/actor';

import { handledWithin } from './handled-within';

/** Returns the actor of a request; undefined for one that has none, such as a login. */
export type RequestActor = (context: ExecutionContext) => Actor | undefined;

/**
 * Runs pipes and handler of a request in `runAs`, and what a returned Observable does when it is subscribed to.
 * Guards come before, so that they can find out who it is.
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
    if (actor === undefined) return next.handle();
    return handledWithin(next, (work) => runAs(actor, work));
  }
}
