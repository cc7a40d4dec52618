# mmmask for pre-training; DEVICE=cpu or cuda.
#   docker build --tag mmmask --build-arg DEVICE=cpu .
FROM python:3.12-slim-bookworm

ARG DEVICE=cpu
ARG EXTRAS=onedl,detection,segmentation,export,trackers
ENV PIP_NO_CACHE_DIR=1 MMCV_WITH_OPS=0 OMP_NUM_THREADS=1

RUN apt-get update \
    && apt-get install --yes --no-install-recommends git libglib2.0-0 libgl1 \
    && rm -rf /var/lib/apt/lists/*

# PyTorch comes first, in a layer of its own: it is large and changes rarely. uv knows where the
# builds for processors are; those for CUDA are the ordinary ones.
COPY requirements /src/requirements
RUN pip install uv \
    && case "$DEVICE" in \
        cpu) backend='--torch-backend cpu' ;; \
        cuda) backend= ;; \
        *) echo "DEVICE=$DEVICE is neither cpu nor cuda" && exit 1 ;; \
    esac \
    && uv pip install --system --no-cache $backend \
        --constraint /src/requirements/constraints.txt torch torchvision

COPY . /src
RUN pip install --constraint /src/requirements/constraints.txt "/src[$EXTRAS]"

# With --user, the container may run as any user, who has no name and no home of his own.
RUN useradd --create-home user && chmod 777 /home/user
ENV HOME=/home/user USER=user
USER user
WORKDIR /home/user
CMD ["python", "-m", "mmmask.doctor"]
