import type { CallHandler } from '@nestjs/common';

type Handled = ReturnType<CallHandler['handle']>;
type Subscriber = Parameters<Handled['subscribe']>[0];

/**
 * Handles a request within a context. An Observable may begin its work only when Nest subscribes to it, as those of
 * `defer` and `@Sse` do, so both take place within.
 */
export function handledWithin(next: CallHandler, within: <T>(work: () => T) => T): Handled {
  const handled = within(() => next.handle());
  // That of Nest itself: there may be several copies of rxjs.
  const Observable = handled.constructor as new (
    subscribe: (subscriber: Subscriber) => ReturnType<Handled['subscribe']>,
  ) => Handled;
  return new Observable((subscriber) => within(() => handled.subscribe(subscriber)));
}
