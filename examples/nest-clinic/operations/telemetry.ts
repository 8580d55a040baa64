import { Injectable } from '@nestjs/common';
import type { OnApplicationBootstrap, OnApplicationShutdown } from '@nestjs/common';
import { InjectDataSource } from '@nestjs/typeorm';
import { PrometheusExporter } from '@opentelemetry/exporter-prometheus';
import { MeterProvider } from '@opentelemetry/sdk-metrics';
import { DataSource } from 'typeorm';
import type { FieldEncryption } from 'typeorm-field-encryption';
import { InjectFieldEncryption } from 'typeorm-field-encryption/nestjs';
import { instrument } from 'typeorm-field-encryption/opentelemetry';
import type { Instrumentation } from 'typeorm-field-encryption/opentelemetry';

@Injectable()
export class Telemetry implements OnApplicationBootstrap, OnApplicationShutdown {
  readonly exporter = new PrometheusExporter({ preventServerStart: true });
  readonly #meters = new MeterProvider({ readers: [this.exporter] });
  #instrumentation: Instrumentation | undefined;

  constructor(
    @InjectDataSource() private readonly dataSource: DataSource,
    @InjectFieldEncryption() private readonly encryption: FieldEncryption,
  ) {}

  onApplicationBootstrap(): void {
    const meter = this.#meters.getMeter('clinic');
    this.#instrumentation = instrument(this.dataSource, { meter });
    const usable = meter.createObservableGauge('clinic.key.usable', { unit: 's' });
    // Alert on keys that are usable for less time than an outage of the key service may last.
    usable.addCallback(async (result) => {
      for (const { name, purpose, usableForMs } of (await this.encryption.health()).keys) {
        result.observe(usableForMs / 1000, { key: name, purpose });
      }
    });
  }

  async onApplicationShutdown(): Promise<void> {
    await this.#instrumentation?.stop();
    await this.#meters.shutdown();
  }
}
