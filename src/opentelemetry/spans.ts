import { SpanKind, SpanStatusCode } from '@opentelemetry/api';
import type { Attributes, Span, Tracer } from '@opentelemetry/api';

import { channels } from '../telemetry/channels';
import type { WorkMessage } from '../telemetry/channels';
import type { Listeners } from '../telemetry/listeners';

import { errorType } from './attributes';

/** Makes a span of each call to a key service, load of keys and run, within the span that is active. */
export function traceWork(listeners: Listeners, tracer: Tracer): void {
  const spanOf = (kind: SpanKind, name: string, attributes: Attributes = {}): Span =>
    tracer.startSpan(`field_encryption ${name}`, { kind, attributes });
  listeners
    .onWork(channels.kms, (message) => {
      const { provider, operation } = message;
      return ending(spanOf(SpanKind.CLIENT, operation, { provider, operation }), message);
    })
    .onWork(channels.keyLoad, (message) => ending(spanOf(SpanKind.INTERNAL, 'load keys'), message))
    .onWork(channels.run, (message) => {
      const { mode } = message;
      return ending(spanOf(SpanKind.INTERNAL, mode, { mode }), message);
    });
}

/** Returns what ends a span. An error leaves its code: what it says may be long, and its cause is anybody's. */
function ending(span: Span, message: WorkMessage): () => void {
  return () => {
    const failure = errorType(message);
    const code = failure['error.type'];
    if (typeof code === 'string') {
      span.setAttributes(failure).setStatus({ code: SpanStatusCode.ERROR, message: code });
    }
    span.end();
  };
}
