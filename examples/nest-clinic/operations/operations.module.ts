import { Module } from '@nestjs/common';
import { TerminusModule } from '@nestjs/terminus';

import { StaffModule } from '../staff/staff.module.js';

import { ApprovalsController } from './approvals.controller.js';
import { HealthController } from './health.controller.js';
import { MetricsController } from './metrics.controller.js';
import { Telemetry } from './telemetry.js';

@Module({
  imports: [TerminusModule, StaffModule],
  controllers: [ApprovalsController, HealthController, MetricsController],
  providers: [Telemetry],
})
export class OperationsModule {}
