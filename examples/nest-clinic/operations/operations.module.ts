import { Module } from '@nestjs/common';
import { TerminusModule } from '@nestjs/terminus';

import { HealthController } from './health.controller.js';
import { MetricsController } from './metrics.controller.js';
import { Telemetry } from './telemetry.js';

@Module({
  imports: [TerminusModule],
  controllers: [HealthController, MetricsController],
  providers: [Telemetry],
})
export class OperationsModule {}
