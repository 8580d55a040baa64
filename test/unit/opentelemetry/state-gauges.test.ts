import { MeterProvider, MetricReader } from '@opentelemetry/sdk-metrics';
import type { DataPoint } from '@opentelemetry/sdk-metrics';
import { PolledState } from '../../../src/opentelemetry/polled-state';
import { observeState } from '../../../src/opentelemetry/state-gauges';

class ManualReader extends MetricReader {
  protected override onForceFlush(): Promise<void> {
    return Promise.resolve();
  }

  protected override onShutdown(): Promise<void> {
    return Promise.resolve();
  }
}

describe('Gauges of keys and rows', () => {
  it('keep no more than 1,000 series apart, whatever is in the key table', async () => {
    const reader = new ManualReader({ cardinalitySelector: () => 10_000 });
    const meter = new MeterProvider({ readers: [reader] }).getMeter('test');
    const keys = Array.from({ length: 1500 }, (_, i) => ({
      ...{ name: 'default', version: i + 1, state: 'deactivated', rows: 1 },
    }));
    const state = new PolledState();
    Object.assign(state, { status: [{ entity: 'Guest', property: 'email', keys, scopes: null }] });
    const names = { key: (name: string) => name, provider: (name: string) => name };
    observeState(meter, state, { now: () => new Date(), names });
    const { resourceMetrics } = await reader.collect();
    const points = resourceMetrics.scopeMetrics
      .flatMap(({ metrics }) => metrics)
      .filter(({ descriptor }) => descriptor.name === 'field_encryption.rows')
      .flatMap(({ dataPoints }) => dataPoints as readonly DataPoint<unknown>[]);
    expect(points).toHaveLength(1001);
    const overflow = points.find(({ attributes }) => attributes['otel.metric.overflow'] === true);
    expect(overflow?.value).toBe(500);
  });
});
