import type { CallHandler } from '@nestjs/common';

type Handled = ReturnType<CallHandler['handle']>;

/** The part of a subscriber that tells it from other arguments of `subscribe`. */
interface Subscriber {
  next: (value: unknown) => void;
}

/**
 * Handles a request within a context. An Observable may begin its work only when Nest subscribes to it, as those of
 * `defer` and `@Sse` do, so both take place within.
 */
export function handledWithin(next: CallHandler, within: <T>(work: () => T) => T): Handled {
  const handled = within(() => next.handle());
  // That of Nest itself: there may be several copies of rxjs.
  const Observable = handled.constructor as new (
    subscribe: (subscriber: Subscriber) => unknown,
  ) => Handled;
  return new Observable((subscriber) => within(() => handled.subscribe(subscriber)));
}
