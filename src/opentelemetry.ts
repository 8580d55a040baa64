export { instrument } from './opentelemetry/instrument';
export type { Instrumentation, InstrumentOptions } from './opentelemetry/instrument';
