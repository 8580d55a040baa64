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
  const Observable = classOf(handled);
  return new Observable((subscriber) => within(() => handled.subscribe(subscriber)));
}

/** Returns Observable, whatever subclass it is of. Not by its import: there may be several copies of rxjs. */
function classOf(
  handled: Handled,
): new (subscribe: (subscriber: Subscriber) => unknown) => Handled {
  let prototype = Object.getPrototypeOf(handled) as Handled;
  for (let next = prototype; next !== Object.prototype;) {
    prototype = next;
    next = Object.getPrototypeOf(next) as Handled;
  }
  return prototype.constructor as ReturnType<typeof classOf>;
}
